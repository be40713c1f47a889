"""What an analysis found: every number that the terminal, the CSV tables and the report show.

``analysis.summary`` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis import consistency
from analysis.across import Page
from analysis.attribution import Share
from analysis.calls import Calls
from analysis.ceiling import Ceiling
from analysis.cells import Unmeasured, Wire
from analysis.claims import Claim
from analysis.contrast import Cell, cells_of
from analysis.counted import Counted
from analysis.failures import Failures
from analysis.hops import Hop
from analysis.mesh import Mesh
from analysis.metric import is_primary
from analysis.noise import Twin
from analysis.peers import Peers
from analysis.plan import Account, Plan
from analysis.proofs import Proof
from analysis.replicate import Replication
from analysis.saturation import Grown, Knee
from analysis.traces import Trace
from analysis.usage import Used
from analysis.verdict import Verdict

QUICK: Final = "quick"


@dataclass(frozen=True, slots=True)
class TwinResult:
    """The A/A pair of one cell and metric: its pairs, the gate's verdict, the floor, the margin."""

    twin: Twin
    verdict: Verdict
    floor: float | None
    margin: float

    @property
    def is_gate(self) -> bool:
        """Whether a campaign stands or falls with it: it is on the primary metric."""
        return is_primary(self.twin.cell.tool, self.twin.metric)

    @property
    def outcome(self) -> str:
        """``passed``, ``failed``, or ``not testable`` (n allows no 95 % interval)."""
        if self.verdict.word == "different":
            return "failed"
        return "passed" if self.verdict.low is not None else "not testable"


@dataclass(frozen=True)
class Analysis:
    """Everything that is shown. ``runs``: good rows of the cells compared. ``files``: what its rows
    were read from, and those of the earlier campaigns whose A/A pairs it knows; ``state``: the
    state directory, as a shell takes it.

    ``peers``: peer -> its kind and architecture. ``mesh``: None without sidecars and proofs.
    ``wholes``: places where ``cpu`` and ``used`` are of runs of several of the ``cells``.
    ``agreement``: None without a campaign of other people's programs to stand beside this one;
    ``unlike``: why there is none, though they were measured.
    ``across``: a page a pair of architectures; empty for a single host. ``stopping``: how each cell
    ended, where further tranches were planned.
    """

    experiment: str
    campaign: str
    generation: int
    state: str
    plan: Plan
    files: pd.DataFrame
    runs: pd.DataFrame
    cells: tuple[Cell, ...]
    wholes: tuple[Cell, ...]
    paths: dict[str, str]
    conditions: tuple[str, ...]
    account: Account
    stopping: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    twins: tuple[TwinResult, ...]
    medians: pd.DataFrame
    cpu: pd.DataFrame
    curves: pd.DataFrame
    little: tuple[consistency.LittleCheck, ...]
    ceilings: tuple[Ceiling, ...]
    failures: tuple[Failures, ...]
    knees: tuple[Knee, ...]
    grown: tuple[Grown, ...]
    hops: tuple[Hop, ...]
    traces: tuple[Trace, ...]
    wire: tuple[Wire, ...]
    counted: tuple[Counted, ...]
    calls: tuple[Calls, ...]
    used: tuple[Used, ...]
    shares: tuple[Share, ...]
    unmeasured: tuple[Unmeasured, ...]
    claims: tuple[Claim, ...]
    replications: tuple[Replication, ...]
    agreement: Peers | None
    unlike: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    containers: tuple[dict[str, str], ...]
    peers: dict[str, str]
    mesh: Mesh | None
    across: tuple[Page, ...]
    warnings: tuple[str, ...]

    @property
    def profile(self) -> str:
        """quick, standard or thorough; a campaign has one."""
        return str(self.runs["profile"].iloc[0])

    @property
    def arms(self) -> list[str]:
        """Arms in the order in which they are shown: baseline, contrasts' arms, the others."""
        declared = [
            self.plan.baseline,
            *(arm for contrast in self.plan.contrasts for arm in contrast),
        ]
        present = sorted(self.runs["arm"].unique())
        return [arm for arm in dict.fromkeys([*declared, *present]) if arm in present]

    @property
    def primary(self) -> list[Verdict]:
        """The verdicts that the answer is made of, in the order of ``by_contrast``."""
        return [
            verdict
            for arm, base in self.plan.contrasts
            for verdict in self.verdicts
            if (verdict.arm, verdict.baseline) == (arm, base)
            and is_primary(verdict.cell.tool, verdict.metric)
        ]

    def by_contrast(self, metric: str) -> list[Verdict]:
        """The verdicts on one metric, in the order of the declared contrasts, then of the cells."""
        return [
            verdict
            for arm, base in self.plan.contrasts
            for verdict in self.verdicts
            if (verdict.metric, verdict.arm, verdict.baseline) == (metric, arm, base)
        ]

    @property
    def quick(self) -> bool:
        """A first look: gates warn and do not fail."""
        return self.profile == QUICK

    @property
    def gates(self) -> tuple[TwinResult, ...]:
        """The A/A pairs of the primary metric: the gate."""
        return tuple(t for t in self.twins if t.is_gate)

    @property
    def gate_failed(self) -> bool:
        """True where the baseline differs from itself in some cell."""
        return any(gate.outcome == "failed" for gate in self.gates)

    @property
    def emulated_cells(self) -> frozenset[Cell]:
        """The cells whose host, or its peer, is emulated."""
        return frozenset(
            cell for cell, rows in cells_of(self.runs) if rows["emulated"].eq(True).any()
        )

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What was made sure of before block 1; empty where nothing was."""
        return self.mesh.proofs if self.mesh else ()

    @property
    def failed_proofs(self) -> tuple[Proof, ...]:
        """The proofs that did not hold: the figures may be of another path than the one named."""
        return tuple(proof for proof in self.proofs if not proof.passed)
