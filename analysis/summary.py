"""One campaign, analysed: an opened dataset and names in, an ``Analysis`` out.

Refuses comparisons whose runs differ in profile, placement, architecture, kind, emulation,
conditions or tool version.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from analysis import consistency, environment
from analysis.across import find_across
from analysis.attribution import find_shares
from analysis.calls import find_calls
from analysis.ceiling import find_ceilings
from analysis.cells import find_unmeasured, find_wire, whole_runs
from analysis.change import listed
from analysis.claims import Claim, ClaimError, read_claims
from analysis.contrast import Cell, cells_of, pair, require_uniform, with_cpu_per_work
from analysis.counted import find_counted
from analysis.cpu import cpu_by_container
from analysis.dataset import Dataset, find_campaign, good_runs
from analysis.errors import AnalysisError, UnknownNameError
from analysis.estimate import flag_outliers, median_interval, noise_floor
from analysis.failures import find_failures, well_answered
from analysis.hops import find_hops
from analysis.latency import quantile_curves
from analysis.mesh import find_mesh
from analysis.metric import PEER, Metric, metrics_of
from analysis.noise import LEAST_MARGIN, Twin, comparable_history, matching_history, twin
from analysis.peers import OURS, THEIRS, Peers, compare_peers
from analysis.plan import Plan, account, campaign_folder, read_plan
from analysis.precision import stopping
from analysis.proofs import read_proofs, refused_proofs
from analysis.replicate import replicate
from analysis.result import Analysis, TwinResult
from analysis.saturation import find_grown, find_knees
from analysis.traces import find_traces
from analysis.usage import find_used
from analysis.verdict import Contrast, Verdict, judge_all, judge_twin
from collector.schema import GOOD, SUPERSEDED

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
