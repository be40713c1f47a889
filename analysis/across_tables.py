"""The tables of what was found across hosts: one row a host, a summary, a ratio of ratios.

Ratios as such, not in logs. A comparison that was refused has a row with the reason.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.across import Page
from analysis.between import RandomEffects
from analysis.hosts import Comparison, RatioOfRatios


def across_tables(pages: Sequence[Page]) -> dict[str, pd.DataFrame]:
    """``across``, ``across_hosts``, ``across_summaries``, ``across_emulated``, ``images``."""
    asked = [(page.title, one) for page in pages for one in page.comparisons]
    images = dict.fromkeys(image for page in pages for image in page.images)
    served = dict.fromkeys(one for page in pages for one in page.served)
    columns = [field.name for field in dataclasses.fields(RatioOfRatios)]
    return {
        "across": pd.DataFrame(
            [
                {
                    **_question(title, one),
                    **(dataclasses.asdict(one.ratio) if one.ratio else dict.fromkeys(columns)),
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
        "across_emulated": pd.DataFrame([dataclasses.asdict(one) for one in served]),
        "images": pd.DataFrame([dataclasses.asdict(image) for image in images]),
    }


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
        "tau": found.tau,
    }
