"""Deltas of the observers' counters between the snapshots before and after a measured part.

A snapshot that is missing, of another boot, or lacks a counter gives None, never zero; so does a
counter that went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collector.dataset.fields import (
    Body,
    FieldError,
    mapping,
    maybe_mapping,
    maybe_text,
    maybe_whole,
    refuse,
)

# Order of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY: Final = (0, 1, 2, 5, 6)
_SOFTIRQ: Final = 6
_STEAL: Final = 7
_FIELDS: Final = 8
NS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Window:
    """One host's snapshots before and after; both there, both of one boot.

    ``cgroups`` has the containers seen in both; ``settled`` says that none came or went.
    """

    before: Body
    after: Body
    cgroups: Mapping[str, tuple[Body, Body]]
    settled: bool


@dataclass(frozen=True, slots=True)
class HostCpu:
    """CPU of a set of CPUs: seconds busy, of them in softirq, and the stolen share of all ticks."""

    busy_s: float | None
    softirq_s: float | None
    steal_share: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A host's wall and monotonic clock, read together."""

    wall_ns: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Observed:
    """A run's snapshots: by host, ``before`` and ``after``, None where one could not be had."""

    before: Mapping[str, Body | None]
    after: Mapping[str, Body | None]
    windows: Mapping[str, Window]

    def snapshots(self, host: str) -> tuple[Body | None, Body | None]:
        """The snapshots of a host before and after."""
        return self.before.get(host), self.after.get(host)


def observe(run: Body) -> Observed:
    """Sort a run's snapshots; a host has a window only if both are there and of one boot."""
    before, after = _snapshots(run, "before"), _snapshots(run, "after")
    windows = {}
    for host, first in before.items():
        last = after.get(host)
        if first is not None and last is not None and first.get("boot_id") == last.get("boot_id"):
            windows[host] = _window(first, last)
    return Observed(before, after, windows)


def _snapshots(run: Body, when: str) -> dict[str, Body | None]:
    taken = maybe_mapping(run, when) or {}
    return {host: None if "error" in mapping(taken, host) else taken[host] for host in taken}


def _window(before: Body, after: Body) -> Window:
    first, last = maybe_mapping(before, "cgroups"), maybe_mapping(after, "cgroups")
    if first is None or last is None:
        return Window(before, after, {}, settled=False)
    pairs = {name: (mapping(first, name), mapping(last, name)) for name in first if name in last}
    return Window(before, after, pairs, settled=first.keys() == last.keys())


def grown(before: Body, after: Body, key: str) -> int | None:
    """How far a counter grew; None if either side lacks it or it went back."""
    first, last = before.get(key), after.get(key)
    if type(first) is int and type(last) is int:
        return last - first if last >= first else None
    if first is None or last is None:
        return None
    raise refuse(key, "a whole number", last if type(first) is int else first)


def network(observed: Observed, hosts: Iterable[str], name: str) -> int | None:
    """Growth of a network counter, over the hosts together; None if it is not known for one."""
    total = 0
    for host in hosts:
        seen = observed.windows.get(host)
        before = {} if seen is None else maybe_mapping(seen.before, "net") or {}
        after = {} if seen is None else maybe_mapping(seen.after, "net") or {}
        delta = grown(before, after, name)
        if delta is None:
            return None
        total += delta
    return total


def own_network(observed: Observed, places: Iterable[tuple[str, str]], name: str) -> int:
    """Growth of a network counter in the namespaces of containers, each a (host, id).

    Tasks of one allocation share a namespace, so the largest on each host counts; where a
    container has the namespaces of two tasks apart, the busier one's. 0 where none is known.
    """
    largest: dict[str, int] = {}
    for host, container in places:
        seen = observed.windows.get(host)
        pair = None if seen is None else seen.cgroups.get(container)
        if pair is not None:
            before, after = (maybe_mapping(one, "net") or {} for one in pair)
            largest[host] = max(largest.get(host, 0), grown(before, after, name) or 0)
    return sum(largest.values())


def growth_of(observed: Observed, places: Iterable[tuple[str, str]], key: str) -> int | None:
    """Growth of a counter over containers, each a (host, id), from its own host's snapshots.

    None if it is not known for one of them.
    """
    total = 0
    for host, container in places:
        seen = observed.windows.get(host)
        pair = None if seen is None else seen.cgroups.get(container)
        delta = None if pair is None else grown(*pair, key)
        if delta is None:
            return None
        total += delta
    return total


def cpu_of_all_ns(observed: Observed, hosts: Iterable[str]) -> int | None:
    """CPU of every container on the hosts; None if one came, went or has no counter."""
    places: list[tuple[str, str]] = []
    for host in hosts:
        seen = observed.windows.get(host)
        if seen is None or not seen.settled:
            return None
        places += [(host, container) for container in seen.cgroups]
    return growth_of(observed, places, "cpu_ns")


def _ticks(taken: Body, cpu: str) -> list[int] | None:
    ticks = (maybe_mapping(taken, "cpu") or {}).get(cpu)
    if ticks is None:
        return None
    right = isinstance(ticks, list) and len(ticks) == _FIELDS
    if not right or not all(type(tick) is int for tick in ticks):
        raise FieldError(f"'cpu': expected {_FIELDS} whole numbers for CPU {cpu}")
    return list(ticks)


def host_cpu(observed: Observed, hosts: Mapping[str, Sequence[int]]) -> HostCpu:
    """Busy seconds (all but idle and iowait, steal apart) and stolen share of the hosts' CPUs.

    ``hosts``: host -> its CPUs, none meaning every CPU in its snapshot. Each CPU counts once:
    virtual hosts of one machine share its kernel, so they have its boot id and its CPU numbers. Of
    a CPU that two hosts share, the snapshots of the first are taken. None where a CPU or the tick
    rate is unknown, or where it is not known whether two hosts are one machine.
    """
    counted: set[tuple[object, str]] = set()
    busy_s: list[float | None] = []
    softirq_s: list[float | None] = []
    stolen = total = 0
    for host, cpus in hosts.items():
        seen = observed.windows.get(host)
        boot = None if seen is None else maybe_text(seen.before, "boot_id")
        if seen is None or (boot is None and len(hosts) > 1):
            return HostCpu(None, None, None)
        names = [str(cpu) for cpu in cpus] or list(maybe_mapping(seen.before, "cpu") or {})
        for name in names:
            if (boot, name) in counted:
                continue
            counted.add((boot, name))
            delta = _cpu_ticks(seen, name)
            if delta is None:
                return HostCpu(None, None, None)
            busy_s.append(_seconds(sum(delta[field] for field in _BUSY), seen))
            softirq_s.append(_seconds(delta[_SOFTIRQ], seen))
            stolen += delta[_STEAL]
            # iowait may go back by a tick; the share of the rest is still right.
            total += sum(max(tick, 0) for tick in delta)
    return HostCpu(
        busy_s=_sum(busy_s),
        softirq_s=_sum(softirq_s),
        steal_share=stolen / total if total > 0 and stolen >= 0 else None,
    )


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _cpu_ticks(seen: Window, cpu: str) -> list[int] | None:
    before, after = _ticks(seen.before, cpu), _ticks(seen.after, cpu)
    if before is None or after is None:
        return None
    return [last - first for first, last in zip(before, after, strict=True)]


def _seconds(ticks: int, seen: Window) -> float | None:
    rate = maybe_whole(seen.after, "clock_ticks")
    if rate is not None and rate <= 0:
        raise FieldError(f"'clock_ticks': expected ticks a second, found {rate}")
    return ticks / rate if rate is not None and ticks >= 0 else None


def moment(body: Body, wall: str = "wall_ns", monotonic: str = "monotonic_ns") -> Moment | None:
    """The two clocks as read together; None if either is missing."""
    read = maybe_whole(body, wall), maybe_whole(body, monotonic)
    return None if read[0] is None or read[1] is None else Moment(read[0], read[1])


def clock_step_s(first: Moment | None, last: Moment | None) -> float | None:
    """Seconds that the wall clock moved against the monotonic one between two moments."""
    if first is None or last is None:
        return None
    wall, monotonic = last.wall_ns - first.wall_ns, last.monotonic_ns - first.monotonic_ns
    return (wall - monotonic) / NS
