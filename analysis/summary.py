"""One campaign, analysed: every number that the terminal, the CSV tables and the report show.

Input: an opened dataset and names. Output: an ``Analysis``. Refuses comparisons whose runs differ
in profile, placement, architecture, kind, emulation, conditions or tool version.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from analysis import consistency, environment
from analysis.across import Page, find_across
from analysis.attribution import Share, find_shares
from analysis.calls import Calls, find_calls
from analysis.ceiling import Ceiling, find_ceilings
from analysis.cells import Unmeasured, Wire, find_unmeasured, find_wire, whole_runs
from analysis.change import listed
from analysis.claims import Claim, ClaimError, read_claims
from analysis.contrast import Cell, cells_of, pair, require_uniform, with_cpu_per_work
from analysis.counted import Counted, find_counted
from analysis.cpu import cpu_by_container
from analysis.dataset import Dataset, find_campaign, good_runs
from analysis.errors import AnalysisError, UnknownNameError
from analysis.estimate import flag_outliers, median_interval, noise_floor
from analysis.failures import Failures, find_failures, well_answered
from analysis.hops import Hop, find_hops
from analysis.latency import quantile_curves
from analysis.mesh import Mesh, find_mesh
from analysis.metric import PEER, Metric, is_primary, metrics_of
from analysis.noise import LEAST_MARGIN, Twin, comparable_history, matching_history, twin
from analysis.peers import OURS, THEIRS, Peers, compare_peers
from analysis.plan import Account, Plan, account, campaign_folder, read_plan
from analysis.precision import stopping
from analysis.proofs import Proof, read_proofs, refused_proofs
from analysis.replicate import Replication, replicate
from analysis.saturation import Grown, Knee, find_grown, find_knees
from analysis.traces import Trace, find_traces
from analysis.usage import Used, find_used
from analysis.verdict import Contrast, Verdict, judge_all, judge_twin
from collector.schema import GOOD, SUPERSEDED

QUICK: Final = "quick"
MACHINE_FACTS: Final = ("machine", "cpu_model", "kernel")
Facts = tuple[tuple[str, str, str], ...]
FIGURE: Final = re.compile(r"\d[\d.,]*( ?%)?")
LIGHT: Final = (
    "run", "attempt", "state", "reasons", "campaign", "experiment", "block", "arm", "copy",
    "deployment", "host", "peer", "load_host", "variant", "tool", "concurrency", "offered",
    "profile", "placement", "path", "conditions", "emulated", "started_wall_s", "requests",
    "throughput_rps", "latency_mean_s", "latency_p50_s", "latency_p99_s",
    "latency_corrected_p50_s", "latency_corrected_p99_s", "containers_cpu_s", "transfer_bytes",
    "transfer_bytes_per_s",
)  # fmt: skip


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


def analyse(
    dataset: Dataset, experiment: str, campaign: str | None = None, *, emulated: bool = False
) -> Analysis:
    """Analyse a campaign of ``experiment`` (default: its newest).

    ``emulated``: take emulated hosts in, which stay out of performance comparisons otherwise.
    Raises ``AnalysisError`` and its kinds.
    """
    light = dataset.runs(columns=LIGHT)
    chosen = find_campaign(light, experiment, campaign)
    everything = dataset.runs([chosen])
    everything = everything[everything["experiment"] == experiment]
    folder = campaign_folder(dataset.state, chosen)
    plan = read_plan(folder, everything)
    good, left_out = _compared(everything, emulated, chosen)
    if plan.failures:
        good = well_answered(good)
    history = comparable_history(with_cpu_per_work(good_runs(light)), chosen)
    pooled = sorted(str(name) for name in history["campaign"].unique())
    twins, contrasts = _contrasts(plan, good, history)
    verdicts = judge_all(contrasts)
    bindings, files = dataset.bindings(chosen), dataset.table("files", [chosen])
    raw = {name: dataset.table(name, [chosen]) for name in ("containers", "hosts", "histograms")}
    proofs = read_proofs(dataset.table("proofs", [chosen]))
    mesh = find_mesh(plan, good, {**raw, "bindings": bindings}, proofs)
    paths = paths_of(good)
    whole = whole_runs(dataset.table("runs", [chosen]), good)
    claims, unread = _claims_about(experiment)
    load_hosts = ", ".join(sorted(good["load_host"].unique()))
    last = everything[everything["state"] != SUPERSEDED]
    medians = _medians(good)
    facts = tuple(environment.host_facts(bindings, load_hosts))
    agreement, unlike = (
        _beside_peers(dataset, (verdicts, medians, facts, good), emulated)
        if experiment == OURS and light["experiment"].eq(THEIRS).any()
        else (None, [])
    )
    ceilings, parts = tuple(find_ceilings(good, light)), dataset.table("cells", [chosen])
    return Analysis(
        experiment=experiment,
        campaign=chosen,
        generation=dataset.generation,
        state=_shown(dataset.state.resolve()),
        plan=plan,
        files=dataset.table("files", pooled),
        runs=good,
        cells=tuple(cell for cell, _ in cells_of(good)),
        wholes=tuple(cell for cell, _ in cells_of(whole)),
        paths=paths,
        conditions=tuple(environment.shared_conditions(bindings)),
        account=account(plan, everything, files, (folder / "finished").exists()),
        stopping=stopping(plan, good),
        verdicts=tuple(verdicts),
        twins=tuple(twins),
        medians=medians,
        cpu=pd.concat(
            [cpu_by_container(one, raw["containers"]) for one in (good, whole) if len(one)],
            ignore_index=True,
        ),
        curves=quantile_curves(good, raw["histograms"]),
        little=tuple(consistency.check_little(good)),
        ceilings=ceilings,
        counted=tuple(find_counted(good)),
        calls=tuple(find_calls(good, raw["containers"])),
        used=tuple(used for one in (good, whole) for used in find_used(one, raw["containers"])),
        shares=tuple(
            share
            for one in (good, whole)
            for share in find_shares(one, raw["containers"], raw["hosts"])
        ),
        unmeasured=tuple(find_unmeasured(last, parts)),
        wire=tuple(find_wire(last, parts)),
        failures=tuple(find_failures(good)) if plan.failures else (),
        knees=tuple(find_knees(good)),
        grown=tuple(find_grown(good)),
        hops=tuple(find_hops(good, paths)),
        traces=tuple(find_traces(good)),
        claims=claims,
        replications=tuple(replicate(claims, verdicts, experiment)),
        agreement=agreement,
        unlike=tuple(unlike),
        facts=facts,
        containers=tuple(environment.arm_containers(bindings)),
        peers=environment.peer_kinds(bindings),
        mesh=mesh,
        across=find_across(
            list(zip(contrasts, verdicts, strict=True)),
            good,
            last,
            bindings,
        ),
        warnings=(
            *left_out,
            *unread,
            *unlike,
            *refused_proofs(files),
            *(mesh.warnings if mesh else ()),
            *([] if plan.failures else consistency.body_warnings(good)),
            *(
                f"{one.cell.label}: {one.arm} took {100 * one.share:.0f} % of what the generator "
                "can ask for at all; it may have set the figure"
                for one in ceilings
                if one.bound
            ),
            *_run_warnings(good),
        ),
    )


def _claims_about(experiment: str) -> tuple[tuple[Claim, ...], list[str]]:
    """The claims about it; a file that cannot be read keeps nobody from a report."""
    try:
        known = read_claims()
    except ClaimError as error:
        return (), [f"Published claims are left out: {error}"]
    return tuple(one for one in known if one.here and one.here.experiment == experiment), []


def _beside_peers(
    dataset: Dataset,
    ours: tuple[Sequence[Verdict], pd.DataFrame, Facts, pd.DataFrame],
    emulated: bool,
) -> tuple[Peers | None, list[str]]:
    """What the newest campaign of other people's programs says, or why it says nothing.

    ``ours``: verdicts, medians, facts and good runs.
    """
    verdicts, medians, facts, good = ours
    try:
        found = analyse(dataset, THEIRS, emulated=emulated)
    except AnalysisError as error:
        return None, [f"Other people's programs are left out: {error}"]
    here, there = _machines(facts), _machines(found.facts)
    if other := sorted(key for key in here.keys() & there.keys() if here[key] != there[key]):
        named = ", ".join(f"{host}: {fact}" for host, fact in other)
        return None, [f"Other people's programs are left out: the hosts are others now ({named})"]
    own, theirs = _placed(facts, good), _placed(found.facts, found.runs)
    apart = [
        f"{host}: {theirs[host]} there, {own[host]} here"
        for host in sorted(own.keys() & theirs.keys())
        if own[host] != theirs[host]
    ]
    if apart:
        return None, [
            "Other people's programs are left out: their ends shared the CPUs otherwise "
            f"({'; '.join(apart)}). Measure them again as this was: make lab experiment={THEIRS}"
        ]
    return compare_peers(found.campaign, found.verdicts, verdicts, found.medians, medians), []


def _placed(facts: Facts, runs: pd.DataFrame) -> dict[str, str]:
    """Host -> how the ends of the paths on it share which CPUs: ``same_core on CPU 1``."""
    cpus = {where: value for where, fact, value in facts if fact == "cpus"}
    placed = runs["placement"].astype("object").fillna("unknown").groupby(runs["host"])
    return {
        str(host): f"{listed(sorted(own.unique()))} on CPU {cpus.get(str(host), 'unknown')}"
        for host, own in placed
    }


def _machines(facts: Facts) -> dict[tuple[str, str], str]:
    """(host, fact) -> value of what makes a host another one."""
    return {(where, fact): value for where, fact, value in facts if fact in MACHINE_FACTS}


def _shown(state: Path) -> str:
    return shlex.quote(f".lab/{state.name}" if state.parent.name == ".lab" else str(state))


def paths_of(runs: pd.DataFrame) -> dict[str, str]:
    """Arm -> its path, of arms that have the same one in every cell."""
    named = runs.dropna(subset=["path"]).groupby("arm")["path"].unique()
    return {str(arm): str(found[0]) for arm, found in named.items() if len(found) == 1}


def _compared(runs: pd.DataFrame, emulated: bool, campaign: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows to compare, and what was left out in words."""
    good = with_cpu_per_work(good_runs(runs))
    if good.empty and len(beyond := runs.loc[runs["state"] == GOOD, "run"]):
        raise AnalysisError(
            f"campaign {campaign} measured nothing: all that was asked of its good runs is beyond "
            f"their mechanisms: `python -m collector show {beyond.iloc[0]}` prints whose limit"
        )
    if good.empty:
        raise AnalysisError(
            f"campaign {campaign} has no good run: nothing can be compared. "
            "`python -m collector collect` prints why each run was refused"
        )
    guest = good["emulated"].map(lambda value: value is True or value == 1)
    if not guest.any():
        return good, []
    hosts = ", ".join(sorted(good.loc[guest, "host"].unique()))
    if emulated:
        return good, [
            f"Emulated hosts are taken in ({hosts}): their figures are of an emulated machine and "
            "say nothing of a real one; only what works, and what does not, holds of them."
        ]
    if guest.all():
        raise UnknownNameError(
            f"campaign {campaign} ran on emulated hosts only ({hosts}), which stay out of "
            "performance comparisons: ask for them with --emulated"
        )
    return good[~guest], [f"Emulated hosts are left out ({hosts}); --emulated takes them in."]


def stated(cell: Cell, rows: pd.DataFrame) -> list[Metric]:
    """The metrics of a cell, without those that its tool need not print and never did."""
    return [
        metric
        for metric in metrics_of(cell.tool)
        if not metric.optional or rows[metric.name].notna().any()
    ]


def _contrasts(
    plan: Plan, good: pd.DataFrame, history: pd.DataFrame
) -> tuple[list[TwinResult], list[Contrast]]:
    twins: list[TwinResult] = []
    contrasts: list[Contrast] = []
    for cell, rows in cells_of(good):
        for contrast in plan.contrasts:
            require_uniform(cell, rows, contrast)
        matching = matching_history(rows, history, plan.baseline)
        for metric in stated(cell, rows):
            result = _twin_result(twin(cell, rows, matching, metric.name, plan.baseline))
            twins.append(result)
            contrasts.extend(
                Contrast(
                    cell, metric.name, arm, base, pair(rows, metric.name, arm, base), result.floor
                )
                for arm, base in plan.contrasts
                # Each of other people's programs measures things of its own.
                if not cell.tool.startswith(PEER) or rows["arm"].isin((arm, base)).any()
            )
    return twins, contrasts


def _twin_result(found: Twin) -> TwinResult:
    """The floor is that of a comparison of as many units as this cell has A/A pairs."""
    seed = int.from_bytes(hashlib.sha256(f"{found.cell}{found.metric}".encode()).digest()[:8])
    floor = noise_floor(found.pool, int(found.pairs.units.size), seed)
    margin = max(math.log1p(LEAST_MARGIN), floor or 0.0)
    return TwinResult(found, judge_twin(found), floor, math.expm1(margin))


def _medians(good: pd.DataFrame) -> pd.DataFrame:
    """Per cell, arm, copy and metric: median, order-statistic interval, n, flagged outliers."""
    rows = []
    for cell, of_cell in cells_of(good):
        for (arm, copy), own in of_cell.groupby(["arm", "copy"], sort=True):
            for metric in metrics_of(cell.tool):
                values = own[metric.name].dropna().astype("float64")
                if values.empty:
                    continue
                at = median_interval(values.to_numpy())
                flagged = int(flag_outliers(values.to_numpy()).sum())
                rows.append(
                    (cell, arm, copy, metric.name, at.value, at.low, at.high, at.n, flagged)
                )
    columns = ["cell", "arm", "copy", "metric", "median", "low", "high", "n", "flagged"]
    return pd.DataFrame(rows, columns=columns)


def _run_warnings(good: pd.DataFrame) -> list[str]:
    """What good runs warn of, counted; figures, which differ by run, are left out."""
    good = good.drop_duplicates(["run", "attempt"])  # a run of several cells warns once
    counts: dict[str, int] = {}
    for text in good["warnings"].dropna():
        for name in {FIGURE.sub("...", warning) for warning in str(text).split("; ")} - {""}:
            counts[name] = counts.get(name, 0) + 1
    return [f"{name}: {n} of {len(good)} good runs" for name, n in sorted(counts.items())]
