"""Runs of a tool that measures several things in turn (ipc, serialisation): a row for each.

Input: rows of the table ``runs``, and the table ``cells``. Output: the rows again, each run that
has measured cells replaced by one row a cell. Its tool is the run's with the mode
(``ipc-latency``), what it offers is the size (``64 B``), its figures are the cell's own, and
everything else is the run's: from here on a cell is compared as a run of any other tool is. What
could not be measured is listed with its reason, and is no zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.metric import OF_CELLS

MEASURED: Final = "measured"
RUN: Final = ["run", "attempt"]
# What was counted over the whole run, and is no cell's.
OF_THE_RUN: Final = (
    "host_cpu_s", "unattributed_cpu_s", "load_cpu_s", "softirq_cpu_s", "connections_opened",
    "listen_overflows", "retransmits", "throttled_count", "traced_requests", "little_ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Unmeasured:
    """What ``runs`` runs of an arm have no figure of: a cell, or (``what``) ``everything``."""

    host: str
    variant: str
    arm: str
    what: str
    why: str
    runs: int


def find_unmeasured(runs: pd.DataFrame, cells: pd.DataFrame) -> Iterator[Unmeasured]:
    """Yield what a limit, a mechanism's kind or the kernel kept from being measured, or lost.

    ``runs``: last attempts, in any state; ``cells``: that table.
    """
    place = ["host", "variant", "arm"]
    known = runs.drop_duplicates(RUN)[[*RUN, *place, "unavailable"]].fillna({"variant": ""})
    refused = cells[(cells["state"] != MEASURED) | cells["count"].eq(0)].merge(known, on=RUN)
    asked = [*place, "mode", "message_bytes", "state", "reason"]
    for key, own in refused.groupby(asked, dropna=False, sort=True):
        host, variant, arm, mode, size, state, reason = key
        what = mode if pd.isna(size) else f"{mode} of {size:,.0f} B"
        word = "nothing arrived" if state == MEASURED else str(state).replace("_", " ")
        why = word + ("" if pd.isna(reason) else f": {reason}")
        yield Unmeasured(host, variant, arm, what, why, len(own))
    forbidden = known[known["unavailable"].notna()]
    for (host, variant, arm, why), own in forbidden.groupby([*place, "unavailable"], sort=True):
        yield Unmeasured(host, variant, arm, "everything", f"not available: {why}", len(own))


@dataclass(frozen=True, slots=True, order=True)
class Wire:
    """How many bytes a message of ``message_bytes`` takes on its way, by an arm's format."""

    host: str
    variant: str
    message_bytes: int
    arm: str
    wire_bytes: int


def find_wire(runs: pd.DataFrame, cells: pd.DataFrame) -> list[Wire]:
    """Return the size of each arm's messages as sent, where a tool says it.

    ``runs``: last attempts; ``cells``: that table. A format gives the same bytes every time.
    """
    said = cells[cells["wire_bytes"].notna()]
    known = runs.drop_duplicates(RUN)[[*RUN, "host", "variant", "arm"]].fillna({"variant": ""})
    each = said.merge(known, on=RUN)[["host", "variant", "message_bytes", "arm", "wire_bytes"]]
    return sorted(
        Wire(str(host), str(variant), int(size), str(arm), int(wire))
        for host, variant, size, arm, wire in each.drop_duplicates().itertuples(index=False)
    )


def with_cells(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """``runs`` (with run, attempt and tool) with each measured cell in the place of its run."""
    measured = cells[cells["state"] == MEASURED].reset_index(drop=True)
    if measured.empty:
        return runs
    texts = [name for name in ("tool", "offered") if name in runs]
    runs = runs.assign(**{name: runs[name].astype("object") for name in texts})
    keys = pd.MultiIndex.from_frame(runs[RUN])
    whole = runs[~keys.isin(pd.MultiIndex.from_frame(measured[RUN]))]
    parted = runs.merge(measured.add_suffix("_of_cell"), left_on=RUN, right_on=_of_cell(RUN))
    figures = {name: value for name, value in _figures(parted).items() if name in runs}
    both = [whole, parted.assign(**figures)[runs.columns]]
    return pd.concat([frame for frame in both if len(frame)], ignore_index=True)


def whole_runs(runs: pd.DataFrame, good: pd.DataFrame) -> pd.DataFrame:
    """The runs of which ``good`` has cells, each once and with itself as the unit of work.

    ``runs``: that table. Containers are counted over whole runs. The one that makes the load is one
    of the two ends that talk, and as much of the arm as the other.
    """
    parts = pd.MultiIndex.from_frame(good.loc[good["tool"].isin(OF_CELLS), RUN])
    own = runs[pd.MultiIndex.from_frame(runs[RUN]).isin(parts)]
    both = own["containers_cpu_s"].astype("float64") + own["load_cpu_s"].astype("float64")
    counted = own.assign(requests=1, inside=False, containers_cpu_s=both, load_cpu_s=float("nan"))
    return counted.assign(**{name: own[name].fillna("") for name in ("peer", "offered")})


def _of_cell(names: list[str]) -> list[str]:
    return [f"{name}_of_cell" for name in names]


def _figures(parted: pd.DataFrame) -> Mapping[str, pd.Series]:
    """The columns of ``runs`` that a cell fills, from those of the cell."""
    cell = {str(name).removesuffix("_of_cell"): parted[name] for name in parted}
    count, size = cell["count"].astype("float64"), cell["message_bytes"].astype("float64")
    latencies = [f"latency_{which}_s" for which in ("mean", "min", "p50", "p90", "p99", "max")]
    return {
        "tool": parted["tool"] + "-" + cell["mode"].astype("str"),
        "offered": size.map(lambda value: "" if pd.isna(value) else f"{value:,.0f} B"),
        "requests": count,
        "duration_s": cell["duration_s"],
        "throughput_rps": cell["rate_per_s"],
        "transfer_bytes": (count * size).where(cell["transfer_bytes_per_s"].notna()),
        "transfer_bytes_per_s": cell["transfer_bytes_per_s"],
        "containers_cpu_s": cell["cpu_measuring_s"] + cell["cpu_serving_s"],
        "context_switches": cell["switches_measuring"] + cell["switches_serving"],
        **{name: cell[name] for name in latencies},
        **dict.fromkeys(OF_THE_RUN, pd.Series(float("nan"), index=parted.index)),
    }
