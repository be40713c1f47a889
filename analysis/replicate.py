"""Published claims beside ours: confirmed, contradicted, or not to be told from noise.

Ratios alone are compared: absolute figures belong to their machines. No published figure comes with
an interval, so that ours decides, and the margin of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.claims import Claim
from analysis.contrast import Cell
from analysis.verdict import Verdict

Outcome = Literal["confirmed", "contradicted", "undetectable"]
Size = Literal["of that size", "smaller", "larger"]


@dataclass(frozen=True, slots=True)
class Replication:
    """A claim beside our verdict in one cell.

    ``size``: None unless it is confirmed and a ratio was published.
    """

    claim: Claim
    ours: Verdict
    outcome: Outcome
    size: Size | None


def outcome(claim: Claim, ours: Verdict) -> Outcome:
    """Confirmed or contradicted by the side of a *different*; a difference that is not there, too.

    *Equivalent* contradicts a published ratio that even at its band's edge lies outside our margin.
    """
    if ours.word == "different" and ours.ratio is not None:
        return "confirmed" if (ours.ratio > 1) == claim.says_more else "contradicted"
    if ours.word == "equivalent" and (edge := _edge(claim)) is not None:
        ahead = edge > 1 + ours.margin if claim.says_more else edge < 1 / (1 + ours.margin)
        return "contradicted" if ahead else "undetectable"
    return "undetectable"


def _edge(claim: Claim) -> float | None:
    """The published ratio at that edge of its band which is nearer to no difference."""
    if claim.ratio is None or claim.band is None:
        return None
    return claim.ratio / (1 + claim.band) if claim.says_more else claim.ratio * (1 + claim.band)


def size(claim: Claim, ours: Verdict) -> Size | None:
    """Whether our interval meets the band about the published ratio; None unless confirmed."""
    if outcome(claim, ours) != "confirmed":
        return None
    if claim.ratio is None or claim.band is None or ours.low is None or ours.high is None:
        return None
    low, high = claim.ratio / (1 + claim.band), claim.ratio * (1 + claim.band)
    if ours.high < low:
        return "smaller" if claim.says_more else "larger"
    if ours.low > high:
        return "larger" if claim.says_more else "smaller"
    return "of that size"


def replicate(
    claims: Iterable[Claim], verdicts: Sequence[Verdict], experiment: str
) -> list[Replication]:
    """Each claim about ``experiment`` beside each verdict that it is about."""
    return [
        Replication(claim, ours, outcome(claim, ours), size(claim, ours))
        for claim in claims
        for ours in verdicts
        if is_about(claim, ours, experiment)
    ]


def is_about(claim: Claim, ours: Verdict, experiment: str) -> bool:
    """Whether a verdict is of the contrast and the cells that a claim names."""
    here = claim.here
    if here is None or here.experiment != experiment:
        return False
    named = (here.arm, here.baseline, claim.metric)
    return named == (ours.arm, ours.baseline, ours.metric) and all(
        _of_cell(ours.cell, key) == value for key, value in here.cell.items()
    )


def _of_cell(cell: Cell, key: str) -> str | int:
    found: str | int = getattr(cell, key)
    return found
