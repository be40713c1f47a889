"""The tables of what was found across hosts: one row a host, a summary, a ratio of ratios.

Ratios as such; ``tau_log`` alone is of log ratios. A refused comparison has a row with the reason.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.across import Page, Served
from analysis.between import RandomEffects
from analysis.hosts import Comparison, RatioOfRatios
from analysis.images import Image


def across_tables(pages: Sequence[Page]) -> dict[str, pd.DataFrame]:
    """``across``, ``across_hosts``, ``across_summaries``, ``across_emulated``, ``images``."""
    asked = [(page.title, one) for page in pages for one in page.comparisons]
    images = dict.fromkeys(image for page in pages for image in page.images)
    served = dict.fromkeys(one for page in pages for one in page.served)
    return {
        "across": pd.DataFrame(
            [
                {
                    **_question(title, one),
                    **_ratio(one.ratio),
                    "refused": one.refused or None,
                    "notes": "; ".join(one.notes) or None,
                }
                for title, one in asked
            ]
        ),
        "across_hosts": pd.DataFrame([row for title, one in asked for row in _hosts(title, one)]),
        "across_summaries": pd.DataFrame(
            [
                {**_question(title, one), "architecture": group.label, **_summary(found)}
                for title, one in asked
                for group, found in one.summaries
            ]
        ),
        "across_emulated": pd.DataFrame(map(dataclasses.asdict, served), columns=_names(Served)),
        "images": pd.DataFrame(map(dataclasses.asdict, images), columns=_names(Image)),
    }


def _names(kind: type[RatioOfRatios | Served | Image]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _ratio(found: RatioOfRatios | None) -> Mapping[str, Any]:
    return dataclasses.asdict(found) if found else dict.fromkeys(_names(RatioOfRatios))


def _question(title: str, one: Comparison) -> Mapping[str, Any]:
    asked = {"metric": one.metric, "arm": one.arm, "baseline": one.baseline}
    return {"across": title, **dataclasses.asdict(one.setting), **asked}


def _hosts(title: str, one: Comparison) -> Iterator[Mapping[str, Any]]:
    for host in one.hosts:
        verdict = host.verdict
        where = {"host": verdict.cell.where, "architecture": host.group.label}
        values = {name: getattr(verdict, name) for name in ("ratio", "low", "high", "n", "word")}
        yield {**_question(title, one), **where, **values}


def _summary(found: RandomEffects) -> Mapping[str, Any]:
    ends = zip(("low", "high"), found.mean.interval(), strict=True)
    further = zip(("predicted_low", "predicted_high"), found.predicted, strict=True)
    return {
        "hosts": found.hosts,
        "ratio": math.exp(found.mean.value),
        **{name: math.exp(end) for name, end in (*ends, *further)},
        "tau_log": found.tau,
    }
