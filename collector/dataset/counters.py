"""Deltas of the observers' counters between the snapshots before and after a measured part.

A snapshot that is missing, of another boot, or lacks a counter gives None, never zero; so does a
counter that went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from collector.dataset.fields import Body, FieldError, mapping, maybe_mapping, maybe_whole, refuse

# Order of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY: Final = (0, 1, 2, 5, 6)
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
    """CPU of a set of a host's CPUs: busy seconds, and the stolen share of all ticks."""

    busy_s: float | None
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
    if first is None or last is None:
        return None
    if type(first) is not int or type(last) is not int:
        raise refuse(key, "a whole number", last if type(first) is int else first)
    return last - first if last >= first else None


def network(seen: Window | None, name: str) -> int | None:
    """Growth of one of the host's network counters."""
    if seen is None:
        return None
    before, after = maybe_mapping(seen.before, "net"), maybe_mapping(seen.after, "net")
    return grown(before or {}, after or {}, name)


def growth_of(seen: Window | None, containers: Iterable[str], key: str) -> int | None:
    """Growth of a counter over the named containers; None if it is not known for one of them."""
    if seen is None:
        return None
    total = 0
    for container in containers:
        pair = seen.cgroups.get(container)
        delta = None if pair is None else grown(*pair, key)
        if delta is None:
            return None
        total += delta
    return total


def cpu_of_all_ns(seen: Window | None) -> int | None:
    """CPU of every container on the host; None if one came, went or has no counter."""
    return growth_of(seen, seen.cgroups, "cpu_ns") if seen is not None and seen.settled else None


def _ticks(taken: Body, cpu: str) -> list[int] | None:
    ticks = (maybe_mapping(taken, "cpu") or {}).get(cpu)
    if ticks is None:
        return None
    right = isinstance(ticks, list) and len(ticks) == _FIELDS
    if not right or not all(type(tick) is int for tick in ticks):
        raise FieldError(f"'cpu': expected {_FIELDS} whole numbers for CPU {cpu}")
    return list(ticks)


def host_cpu(seen: Window | None, cpus: Iterable[int]) -> HostCpu:
    """Busy seconds (all but idle and iowait, steal apart) and stolen share of ``cpus``.

    ``cpus`` empty means every CPU in the snapshot. None where a CPU or the tick rate is unknown.
    """
    if seen is None:
        return HostCpu(None, None)
    names = [str(cpu) for cpu in cpus] or list(maybe_mapping(seen.before, "cpu") or {})
    deltas = []
    for name in names:
        before, after = _ticks(seen.before, name), _ticks(seen.after, name)
        if before is None or after is None:
            return HostCpu(None, None)
        deltas.append([last - first for first, last in zip(before, after, strict=True)])
    busy = sum(delta[field] for delta in deltas for field in _BUSY)
    steal = sum(delta[_STEAL] for delta in deltas)
    # iowait may go back by a tick; the share of the rest is still right.
    total = sum(max(tick, 0) for delta in deltas for tick in delta)
    rate = maybe_whole(seen.after, "clock_ticks")
    if rate is not None and rate <= 0:
        raise FieldError(f"'clock_ticks': expected ticks a second, found {rate}")
    return HostCpu(
        busy_s=busy / rate if rate is not None and busy >= 0 and deltas else None,
        steal_share=steal / total if total > 0 and steal >= 0 else None,
    )


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
