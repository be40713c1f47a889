"""Rules about hosts: which are measured, which load them, and on which CPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from collector.parse import TOOLS
from collector.plan.case import Case
from collector.plan.findings import Finding, shown, suggestion
from collector.plan.inventory import Host
from collector.plan.pairing import named_hosts, pair_hosts

_SHOWN: Final = 4
_SUGGESTED: Final = 16


def _list(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


class HostsExist:
    """There is a host to measure and one to load it, and the experiment's names mean hosts."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look the groups up, then the experiment's own names."""
        inventory = case.inventory
        for group in ("clients", "load"):
            if not inventory.group(group):
                message = f"no host in group '{group}'; add one"
                yield Finding("error", "inventory: groups", message)
        clients = {host.name for host in inventory.group("clients")}
        for index, name in enumerate(case.experiment.spec.hosts or ()):
            members = inventory.groups.get(name, (name,))
            if not clients.intersection(members):
                hint = suggestion(name, sorted(clients)[:_SUGGESTED])
                message = f"{shown(name)} is no host or group of hosts in group 'clients'{hint}"
                yield case.error(message, "hosts", index)


class EmulatedHostsAreAskedFor:
    """Emulated hosts stay out of performance comparisons unless the experiment names them."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Say which are left out, or that they are in."""
        emulated = [host for host in case.inventory.group("clients") if host.emulated]
        measured = named_hosts(case.experiment, case.inventory)
        out = [host.name for host in emulated if host not in measured]
        within = [host.name for host in emulated if host in measured]
        if within:
            message = f"emulated: {_list(within)}; compare within the host, never across"
            yield case.warning(message, "hosts")
        if case.experiment.spec.hosts is not None or not out:
            return
        if measured:
            message = f"emulated, so left out: {_list(out)}; measured with --emulated (make arm=1)"
            yield Finding("warning", "inventory: hosts", message)
        else:
            message = (
                f"every host of group 'clients' is emulated ({_list(out)}); --emulated measures "
                "them all the same"
            )
            yield case.error(message, "hosts")


class LoadHostIsApart:
    """Load comes from another host, so that the generator's CPU is not the topology's.

    A lab of one host is a warning: its rows say so, and nothing better can be had.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Compare each pair's two hosts."""
        same = [
            pair.host.name
            for pair in pair_hosts(case.experiment, case.inventory)
            if pair.host == pair.load_host and not _all_inside(case)
        ]
        if not same:
            return
        if len(case.inventory.hosts) == 1:
            message = f"the only host, {same[0]}, loads itself; its figures include the generator"
            yield Finding("warning", "inventory: groups", message)
        else:
            message = f"{_list(same)} would load itself; add another host to group 'load'"
            yield Finding("error", "inventory: groups", message)


class FarEndExists:
    """A topology that spans two hosts has a second one to span to."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for measured hosts without a far end."""
        if not case.experiment.spec.peer:
            return
        paired = {pair.host for pair in pair_hosts(case.experiment, case.inventory)}
        alone = [
            host.name for host in named_hosts(case.experiment, case.inventory) if host not in paired
        ]
        if alone and case.inventory.group("load"):
            named = (
                f" of {case.experiment.spec.peer}" if case.experiment.spec.peer is not True else ""
            )
            message = (
                f"the topology spans two hosts, and {_list(alone)} has no far end; add another "
                f"host{named} to group 'peers' (the local lab has one from hosts=3 on)"
            )
            yield case.error(message, "peer")


class PlacementIsApart:
    """Generator and topology on one machine have CPUs of their own: placement dominates.

    Virtual hosts share the machine that they run on, as do names of one address. An emulated host
    counts its own CPUs, so nothing can be said of it.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Intersect the CPU sets of each pair on one machine."""
        shared: dict[tuple[int, ...], list[str]] = {}
        for pair in pair_hosts(case.experiment, case.inventory):
            if not _all_inside(case) and _one_machine(pair.host, pair.load_host):
                common = tuple(sorted(set(pair.host.cpus) & set(pair.load_host.cpus)))
                if common:
                    shared.setdefault(common, []).append(pair.host.name)
        for common, names in shared.items():
            message = (
                f"load and topology of {_list(names)} share CPU {', '.join(map(str, common))} of "
                "one machine; set lab_cpus apart, or read the figures with care"
            )
            yield Finding("warning", "inventory: lab_cpus", message)


class PartsHaveCpusToBeApart:
    """A topology whose parts are to be apart (``cpus: apart``) runs on a host of two CPUs or more.

    On one CPU its rows would be those of the same core, under another name.
    """

    NAME: Final = "cpus"

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for the value among all variables, then for hosts with one CPU."""
        spec = case.experiment.spec
        values = [spec.variables.get(self.NAME), *spec.cross.get(self.NAME, ())]
        values += [body.variables.get(self.NAME) for body in spec.arms.values()]
        if "apart" not in values:
            return
        pairs = pair_hosts(case.experiment, case.inventory)
        if few := sorted({pair.host.name for pair in pairs if len(pair.host.cpus) == 1}):
            message = (
                f"{_list(few)} has one CPU, and 'cpus: apart' wants two; give it more "
                "(the local lab: make lab cpus=0,1)"
            )
            yield Finding("error", "inventory: lab_cpus", message)


def _all_inside(case: Case) -> bool:
    tools = [TOOLS.get(entry.tool) for entry in case.experiment.spec.load]
    return all(tool is not None and tool.capabilities.inside for tool in tools)


def _one_machine(host: Host, other: Host) -> bool:
    if host.emulated or other.emulated:
        return False
    return host.address == other.address or host.kind == other.kind == "virtual"
