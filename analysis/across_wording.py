"""What was found across hosts, in words."""

from __future__ import annotations

import math

from analysis.across import Page
from analysis.between import RandomEffects
from analysis.change import listed, percent, span
from analysis.hosts import Comparison
from analysis.metric import is_primary, metric_of


def page_lines(page: Page) -> list[str]:
    """One line a contrast; where emulated hosts have nothing to compare, one that says why."""
    if page.left_out or page.failed:
        answered, runs = (
            sum(getattr(s, name) for s in page.served) for name in ("answered", "runs")
        )
        why, cure = f"no run on emulated hosts is good ({', '.join(page.failed)})", ""
        if page.left_out:
            why = f"emulated hosts are left out ({', '.join(page.emulated)})"
            cure = " --emulated shows ratios."
        return [
            f"{page.title}: not compared, {why}. "
            f"Functional: {answered} of {runs} runs there had answers.{cure}"
        ]
    asked: dict[tuple[str, str], list[Comparison]] = {}
    for one in page.comparisons:
        # Hosts of one architecture that are too few for a summary have their cells' verdicts.
        told = len(one.groups) > 1 or one.summaries or one.refused
        if told and is_primary(one.setting.tool, one.metric):
            asked.setdefault((one.arm, one.baseline), []).append(one)
    return [
        f"{page.title}, {arm} vs {base}: {across_text(own[0]) if len(own) == 1 else _counted(own)}."
        for (arm, base), own in asked.items()
    ]


def across_text(found: Comparison) -> str:
    """What one contrast came to across hosts, or why it came to nothing."""
    ratio = found.ratio
    words = metric_of(found.setting.tool, found.metric).words
    if ratio is not None:
        whose = "hosts like these" if ratio.sample else "these hosts alone"
        text = f"ratio of ratios {percent(ratio.ratio)} {words} {span(ratio.low, ratio.high)}"
        return f"{text}, {ratio.word}, of {whose}"
    if len(found.groups) == 1 and found.summaries:
        return _summary(found.summaries[0][1], words)
    hosts = [
        f"{percent(one.verdict.ratio)} on {one.host}" for one in found.hosts if one.verdict.ratio
    ]
    each = f"; by host {words} {listed(hosts)}" if hosts else ""
    return f"not compared, {found.refused or '; '.join(found.notes)}{each}"


def log_span(ends: tuple[float, float]) -> str:
    """Two log ratios as an interval in percent."""
    return span(math.exp(ends[0]), math.exp(ends[1]))


def _summary(found: RandomEffects, words: str) -> str:
    """``+12.0 % requests/s [+10.1, +14.6] over 3 hosts, a further one in [+5.0, +19.5]``."""
    mean = f"{percent(math.exp(found.mean.value))} {words} {log_span(found.mean.interval())}"
    return f"{mean} over {found.hosts} hosts, a further one in {log_span(found.predicted)}"


def _counted(own: list[Comparison]) -> str:
    """What several settings came to: words, refusals, the smallest and the largest ratio."""
    if len(own[0].groups) == 1:
        words = ["summary" for one in own if one.summaries]
        ratios = [math.exp(found.mean.value) for one in own for _, found in one.summaries]
    else:
        words = [one.ratio.word for one in own if one.ratio]
        ratios = [one.ratio.ratio for one in own if one.ratio]
    counts = [f"{word} in {words.count(word)}" for word in sorted(set(words))]
    if absent := len(own) - len(words):
        counts.append(f"not compared in {absent}")
    reasons = "; ".join(dict.fromkeys(one.refused for one in own if one.refused))
    why = f" ({reasons})" if reasons else ""
    reach = f", {percent(min(ratios))} to {percent(max(ratios))}" if ratios else ""
    return f"{', '.join(counts)} of {len(own)} settings{why}{reach}"
