"""Where each published claim stands by what this lab has measured, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pandas as pd

from analysis.claims import Claim
from analysis.dataset import Dataset
from analysis.errors import AnalysisError
from analysis.replicate import Outcome, Size, replicate
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import csv_text
from analysis.verdict import Verdict

Stands = Outcome | Literal["not measured", "not runnable here"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A claim in one cell of a campaign; ``why`` where there is no verdict of ours."""

    claim: Claim
    stands: Stands
    campaign: str | None
    ours: Verdict | None
    size: Size | None
    why: str


def standings(dataset: Dataset, claims: Iterable[Claim]) -> list[Standing]:
    """Each claim by the newest campaign of its experiment: a line a cell, or one that says why not.

    A campaign that cannot be analysed leaves its claims not measured, with the reason.
    """
    known = set(dataset.runs(columns=["experiment"])["experiment"].dropna())

    @cache
    def analysed(experiment: str) -> Analysis | str:
        if experiment not in known:
            return f"measure it: make lab experiment={experiment}"
        try:
            return analyse(dataset, experiment)
        except AnalysisError as error:
            return str(error)

    return [one for claim in claims for one in _of_claim(claim, analysed)]


def _of_claim(claim: Claim, analysed: Callable[[str], Analysis | str]) -> Iterator[Standing]:
    if claim.here is None:
        yield Standing(claim, "not runnable here", None, None, None, str(claim.not_here))
        return
    found = analysed(claim.here.experiment)
    if isinstance(found, str):
        yield Standing(claim, "not measured", None, None, None, found)
        return
    own = replicate([claim], found.verdicts, claim.here.experiment)
    if not own:
        why = f"campaign {found.campaign} has no such cell with good runs"
        yield Standing(claim, "not measured", found.campaign, None, None, why)
    for one in own:
        yield Standing(claim, one.outcome, found.campaign, one.ours, one.size, "")


def rows(found: Iterable[Standing]) -> list[dict[str, Any]]:
    """One flat row a line: the claim, what was published, what we have; unknown is None."""
    return [
        {
            "claim": one.claim.name,
            "says": one.claim.says,
            "source": one.claim.source,
            "metric": one.claim.metric,
            "published_ratio": one.claim.ratio,
            "published_more": one.claim.says_more,
            "published_consistent": one.claim.consistent,
            "stands": one.stands,
            "size": one.size,
            "why": one.why or None,
            "campaign": one.campaign,
            "cell": one.ours.cell.label if one.ours else None,
            "arm": one.ours.arm if one.ours else None,
            "baseline": one.ours.baseline if one.ours else None,
            "verdict": one.ours.word if one.ours else None,
            "ratio": one.ours.ratio if one.ours else None,
            "low": one.ours.low if one.ours else None,
            "high": one.ours.high if one.ours else None,
            "n": one.ours.n if one.ours else None,
            "margin": one.ours.margin if one.ours else None,
        }
        for one in found
    ]


def as_json(found: Iterable[Standing]) -> str:
    """The rows as a JSON list."""
    return json.dumps(rows(found), indent=1)


def as_csv(found: Iterable[Standing]) -> str:
    """The rows as CSV."""
    return csv_text(pd.DataFrame(rows(found)))
