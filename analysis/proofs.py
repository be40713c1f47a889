"""What the engine made sure of before block 1: claims, whether they held, what was seen.

Input: the tables ``proofs`` and ``files`` of one campaign. A proof that did not hold means that the
figures may be of another path than the one that they name, so the answer says so first.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.environment import parsed
from collector.schema import QUARANTINED


@dataclass(frozen=True, slots=True)
class Proof:
    """One claim. ``evidence``: what was seen, one line each."""

    name: str
    claim: str
    passed: bool
    evidence: tuple[str, ...]


def read_proofs(table: pd.DataFrame) -> tuple[Proof, ...]:
    """The proofs, in the order in which they were made. One that does not say so did not hold."""
    rows = table[["proof", "claim", "passed", "evidence"]].itertuples(index=False, name=None)
    return tuple(
        Proof(str(name), str(claim), passed is True or passed == 1, _lines(evidence))
        for name, claim, passed, evidence in rows
    )


def _lines(text: object) -> tuple[str, ...]:
    found = parsed(text)
    return tuple(str(line) for line in found) if isinstance(found, list) else ()


def refused_proofs(files: pd.DataFrame) -> list[str]:
    """A warning for a proofs.json that is quarantined: nothing of it was believed."""
    own = files[(files["kind"] == "proofs") & (files["state"] == QUARANTINED)]
    return [f"The campaign's proofs are quarantined: {reason}" for reason in own["reason"]]
