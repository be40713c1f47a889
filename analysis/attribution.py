"""Who used what of a host: from process to container to allocation to arm, and what is left.

Means over an arm's runs, so that a thing is the sum of its parts as far as these are known: the
``hosts`` of the arm, the waiting arms beside it, and the rest (daemons, the kernel, page cache of
nobody's container); the arm of its allocations, these of their containers, and those of their
processes and what no process that is still there accounts for (one that has ended, a tick of the
kernel's clock). Memory that processes share since a fork is in each of them, and once in their
container, so what none accounts for may be below zero.

CPU and bytes are a unit of work, memory is as it was after a run. Of a network the bytes are those
that its namespace took in and sent out, which its tasks share: each namespace once. They pass the
host's ends of it, but for a macvlan, which has none; what is on the host's own network, and what
stays on a loopback, passes nothing. No kernel tells a process's network, nor its block I/O without
privilege.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd

from analysis.contrast import Cell, cells_of, work_done
from analysis.metric import OF_CELLS

HOSTS: Final = "hosts"
ARM: Final = "arm"
ALLOCATION: Final = "allocation"
CONTAINER: Final = "container"
PROCESS: Final = "process"
WAITING: Final = "waiting arms"
REST: Final = "rest"
FIGURES: Final = ("cpu_s", "own", "memory", "blocks", "network")
_RUN: Final = ["run", "attempt"]
_NAMESPACE: Final = [*_RUN, "host", "network_id"]
_CPU: Final = ("host_cpu_s", "unattributed_cpu_s", "load_cpu_s")
_PER_WORK: Final = ("cpu_s", "blocks", "network")


@dataclass(frozen=True, slots=True)
class Share:
    """One part of what an arm's hosts used in a cell: means over ``n`` runs, None where not known.

    ``level``: hosts, arm, allocation, container, process, waiting arms or rest; ``name``: hosts, an
    allocation's host, a task, a process. ``cpu_s``, ``blocks`` and ``network`` (bytes) are a unit
    of work; ``own`` and ``memory`` bytes: the processes' own, and with page cache and the kernel's.
    """

    cell: Cell
    arm: str
    level: str
    name: str
    n: int
    cpu_s: float | None
    own: float | None
    memory: float | None
    blocks: float | None
    network: float | None


def find_shares(
    good: pd.DataFrame, containers: pd.DataFrame, hosts: pd.DataFrame
) -> Iterator[Share]:
    """Yield every arm's shares, from its hosts down, where what its hosts used is known.

    ``good``: runs; the others: those tables. Both copies of the baseline together; an arm that grew
    is left out, for its new instances are not known.
    """
    whole = good[~good["tool"].isin(OF_CELLS) & good["scaled_to"].isna()]
    whole = whole.assign(work=work_done(whole))
    seen = _all_hosts(whole, hosts)
    parts = _containers(containers)
    for cell, rows in cells_of(whole[whole["work"].notna()]):
        for arm, own in rows.groupby("arm", sort=True):
            runs = own[[*_RUN, "work", *_CPU]]
            known = runs.merge(seen, on=_RUN)
            if len(known):
                yield from _Tree(cell, str(arm), known, parts.merge(known[_RUN], on=_RUN)).shares()


def _all_hosts(runs: pd.DataFrame, hosts: pd.DataFrame) -> pd.DataFrame:
    """What all hosts of a run used together; of runs all of whose hosts are known."""
    known = hosts[hosts["complete"].eq(True)]
    frame = pd.DataFrame(
        {
            **{name: known[name] for name in _RUN},
            "own": known["memory_anonymous_bytes"].astype("float64"),
            "memory": known["memory_bytes"].astype("float64"),
            "blocks": known["read_bytes"].astype("float64")
            + known["written_bytes"].astype("float64"),
            "network": known["links_bytes"].astype("float64"),
            "seen": 1,
        }
    )
    summed = _sums(frame, _RUN, [*FIGURES[1:], "seen"])
    wanted = 1 + runs.set_index(_RUN)["peer"].ne("")
    return summed[summed["seen"] == wanted.reindex(summed.set_index(_RUN).index).to_numpy()]


def _containers(containers: pd.DataFrame) -> pd.DataFrame:
    """One row a container and run, with ``FIGURES`` of the whole run."""
    read, written, received, sent = (
        containers[name].astype("float64")
        for name in ("read_bytes", "written_bytes", "received_bytes", "sent_bytes")
    )
    names = [*_RUN, "deployment", "container", "host", "allocation", "measured", "processes"]
    return containers[names].assign(
        network_id=containers["network"],
        cpu_s=containers["cpu_s"].astype("float64"),
        own=containers["memory_anonymous_bytes"].astype("float64"),
        memory=containers["memory_bytes"].astype("float64"),
        blocks=read + written,
        network=received + sent,
    )


def _sums(frame: pd.DataFrame, by: list[str], columns: list[str]) -> pd.DataFrame:
    """Sums by group; null where a part is."""
    groups = frame.groupby(by, sort=False, dropna=False)[columns]
    return groups.sum().where(groups.count().eq(groups.size(), axis=0)).reset_index()


def _together(parts: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Containers together; a network namespace once, and one on the host's network adds none."""
    summed = _sums(parts, by, list(FIGURES[:-1]))
    apart = parts.dropna(subset=["network_id"]).drop_duplicates([*_NAMESPACE, *by])
    network = apart.groupby(by, sort=False, dropna=False)["network"].sum(min_count=1)
    return summed.merge(network.reset_index(), on=by, how="left")


@dataclass(frozen=True)
class _Tree:
    """One arm in one cell: ``runs`` have what their hosts used, ``parts`` are their containers."""

    cell: Cell
    arm: str
    runs: pd.DataFrame
    parts: pd.DataFrame

    def shares(self) -> Iterator[Share]:
        hosts = self.runs.assign(cpu_s=self._cpu("host_cpu_s"))
        yield self._share(HOSTS, self.cell.where, hosts)
        measured = self.parts["measured"].eq(True)
        mine, waiting = self.parts[measured], self.parts[~measured]
        if len(mine):
            yield self._share(ARM, self.arm, _together(mine, _RUN))
        else:  # a program on the host itself: the kernel has told its CPU, and nothing else
            yield self._share(ARM, self.arm, self.runs[_RUN].assign(cpu_s=self._cpu("load_cpu_s")))
        for (host, _), of_one in _by_allocation(mine):
            yield self._share(ALLOCATION, str(host), _together(of_one, _RUN))
            for task, own in of_one.groupby("container", sort=True):
                yield self._share(CONTAINER, str(task), own)
                yield from self._processes(own)
        if len(waiting):
            yield self._share(WAITING, "", _together(waiting, _RUN))
        yield self._share(REST, "", self._rest(hosts, mine.empty))

    def _cpu(self, column: str) -> pd.Series:
        return self.runs[column].astype("float64")

    def _rest(self, hosts: pd.DataFrame, program: bool) -> pd.DataFrame:
        """What the hosts used less what all their containers did, and a program in none."""
        unattributed = self._cpu("unattributed_cpu_s")
        rest = hosts.assign(cpu_s=unattributed - (self._cpu("load_cpu_s") if program else 0.0))
        if self.parts.empty:
            return rest
        named = [*_RUN, *FIGURES[1:]]
        spent = rest.merge(_together(self.parts, _RUN)[named], on=_RUN, suffixes=("", "_spent"))
        for name in FIGURES[1:]:
            spent[name] -= spent[f"{name}_spent"].fillna(0.0 if name == "network" else float("nan"))
        return spent

    def _processes(self, own: pd.DataFrame) -> Iterator[Share]:
        told = own[own["processes"].notna()]
        found = [
            (run, attempt, name, one["cpu_s"], float(one["memory_anonymous_bytes"]))
            for run, attempt, text in zip(*(told[c] for c in [*_RUN, "processes"]), strict=True)
            for name, one in json.loads(text).items()
        ]
        listed = pd.DataFrame(found, columns=[*_RUN, "name", "cpu_s", "own"])
        for name, of_one in listed.groupby("name", sort=True):
            # One that was not there in a run has used none of it.
            yield self._share(PROCESS, str(name), told[_RUN].merge(of_one, how="left").fillna(0.0))
        if len(listed):
            spent = told[_RUN].merge(listed.groupby(_RUN)[["cpu_s", "own"]].sum().reset_index())
            both = told[[*_RUN, "cpu_s", "own"]].merge(spent, on=_RUN, suffixes=("", "_spent"))
            for name in ("cpu_s", "own"):
                both[name] -= both[f"{name}_spent"]
            yield self._share(PROCESS, "", both)

    def _share(self, level: str, name: str, found: pd.DataFrame) -> Share:
        work = found[_RUN].merge(self.runs[[*_RUN, "work"]], on=_RUN)["work"].to_numpy()
        figures = {one: found[one].to_numpy() for one in FIGURES if one in found}
        means = {
            one: _mean(pd.Series(values / work if one in _PER_WORK else values))
            for one, values in figures.items()
        }
        return Share(
            self.cell, self.arm, level, name, len(found), *(means.get(one) for one in FIGURES)
        )


def _by_allocation(parts: pd.DataFrame) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """An arm's containers by allocation, each a host and its place there: ids differ by run."""
    ids = parts[[*_RUN, "host", "allocation", "container"]].sort_values("container")
    first = ids.drop_duplicates([*_RUN, "host", "allocation"])
    place = first.assign(place=first.groupby([*_RUN, "host"]).cumcount())
    placed = parts.merge(place.drop(columns="container"), on=[*_RUN, "host", "allocation"])
    for (host, number), own in placed.groupby(["host", "place"], sort=True):
        yield (str(host), int(number)), own


def _mean(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.mean()) if len(known) else None
