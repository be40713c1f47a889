"""Which hosts an experiment measures, and which host loads each of them.

Topology hosts are the members of ``clients``, less the emulated ones, unless the experiment names
hosts or groups itself or asks for emulated ones. The far end of a topology that spans two hosts is
the first member of ``peers``, or of what the experiment names, that is another host, one of the
same architecture first; an emulated one only by its name. Load hosts are the members of
``load``; a host that is not the topology's is preferred, and they take turns, so that two topology
hosts need not wait for one generator. A load tool that runs inside the deployment is on the
topology's own host.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector.plan.experiment import Experiment
from collector.plan.inventory import Host, Inventory


@dataclass(frozen=True, slots=True)
class Pair:
    """A topology host, its far end where the topology spans two, and its load generator's host."""

    host: Host
    load_host: Host
    peer: Host | None = None


def named_hosts(experiment: Experiment, inventory: Inventory) -> tuple[Host, ...]:
    """Hosts that the plan measures, by name. Names that mean nothing are left out (see rules)."""
    clients = inventory.group("clients")
    if experiment.spec.hosts is None:
        return tuple(host for host in clients if experiment.spec.emulated or not host.emulated)
    names: set[str] = set()
    for name in experiment.spec.hosts:
        names.update(inventory.groups.get(name, (name,)))
    return tuple(host for host in clients if host.name in names)


def pair_hosts(experiment: Experiment, inventory: Inventory) -> tuple[Pair, ...]:
    """Give every measured host its load host; empty where either group has none."""
    generators = inventory.group("load")
    native = tuple(host for host in generators if not host.emulated) or generators
    pairs = []
    for turn, host in enumerate(named_hosts(experiment, inventory)):
        others = [other for other in native if other != host] or list(native)
        peer = _far_end(host, experiment.spec.peer, inventory)
        if others and (peer is not None or not experiment.spec.peer):
            pairs.append(Pair(host, others[turn % len(others)], peer))
    return tuple(pairs)


def _far_end(host: Host, peer: bool | str, inventory: Inventory) -> Host | None:
    if peer is False:
        return None
    members = inventory.group("peers")
    if isinstance(peer, str):
        names = inventory.groups.get(peer, (peer,))
        members = tuple(one for one in members if one.name in names)
    else:
        members = tuple(one for one in members if not one.emulated)
    others = sorted((one for one in members if one != host), key=lambda one: one.arch != host.arch)
    return next(iter(others), None)
