"""Ratios and lists in words, for every page and line that shows them."""

from __future__ import annotations

from collections.abc import Iterable


def percent(ratio: float | None) -> str:
    """A ratio as a signed change: 1.123 -> ``+12.3 %``; ``none`` where there is none."""
    return "none" if ratio is None else f"{(ratio - 1) * 100:+.1f} %"


def span(low: float | None, high: float | None) -> str:
    """Two ratios as an interval in percent, ``[+10.1, +14.6]``, or that there is none."""
    if low is None or high is None:
        return "(no 95 % interval)"
    return f"[{(low - 1) * 100:+.1f}, {(high - 1) * 100:+.1f}]"


def listed(values: Iterable[object]) -> str:
    """Each value once: ``a``, ``a and b``, ``a, b and c``."""
    texts = list(dict.fromkeys(str(value) for value in values))
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
