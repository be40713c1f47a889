"""What a campaign has of the lab while it measures, and what a block's header says of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from collector.campaign.cluster import Cluster
from collector.campaign.deployment import Deployer, Order, Place
from collector.campaign.errors import Declined, NotReadyError
from collector.campaign.folder import Campaign
from collector.campaign.guests import Guests
from collector.campaign.preflight import Preflight
from collector.campaign.progress import Events
from collector.campaign.remote import Remote, ask_all
from collector.parse import TOOLS
from collector.plan.inventory import Inventory
from collector.plan.model import Block

EMULATED_PATIENCE: Final = 10.0
INSIDE: Final = "/local/load"
SAME: Final = "same"
PROGRAMS: Final = "/usr/local/lib/socklab/programs"


@dataclass(frozen=True, slots=True)
class Reach:
    """The cluster, and the hosts of some blocks by name: every one observed, those of load run."""

    campaign: Campaign
    plan_sha256: str
    inventory: Inventory
    cluster: Cluster
    deployer: Deployer
    guests: Guests
    seen: Preflight
    events: Events
    observers: dict[str, Remote] = field(default_factory=dict)
    runners: dict[str, Remote] = field(default_factory=dict)
    _tools: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def place(self, block: Block) -> Place:
        """Where a block's deployments run."""
        hosts, peer = self.inventory.hosts, block.peer
        return Place(
            host=block.host,
            address=hosts[block.host].address,
            cpus=hosts[block.host].cpus,
            peer=peer,
            peer_address=hosts[peer].address if peer else None,
            patience=EMULATED_PATIENCE if self.campaign.plan.on_guests(block) else 1.0,
        )

    def program(self, block: Block, order: Order, identity: str) -> dict[str, Any]:
        """Bind an arm that is a program: nothing is deployed, the load tool is the whole arm."""
        name, *words = order.program
        try:
            program = self._tool(block.host, f"{PROGRAMS}/{name}")
        except Declined:
            raise NotReadyError(
                f"{block.host} has no program {name}: ansible-playbook lab.yml --tags workloads"
            ) from None
        cpus = self.runners[block.host].facts["cpus"]
        return {
            "job": identity,
            "arm": order.arm,
            "copy": order.copy,
            "path": order.arm,
            "variables": dict(order.variables),
            "node": None,
            "allocation": None,
            "peer_node": None,
            "peer_allocation": None,
            "endpoint": None,
            "containers": {},
            "images": {},
            "sidecars": {},
            "program": {**program, "words": words},
            # As of a container that holds both ends: two CPUs, where they are apart.
            "cpus": cpus[-1:] if order.variables.get("cpus") == SAME else cpus,
        }

    def header(
        self, block: Block, attempt: int, bindings: Mapping[str, Any], preflight: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the header of a block file (docs/contracts.md, Block file)."""
        plan, load = self.campaign.plan, block.load
        rules = ask_all([self.observers[name] for name in block.hosts], "rules")
        warnings = [self.seen.warnings(self.inventory.hosts[name]) for name in block.hosts]
        return {
            "campaign": plan.campaign,
            "experiment": plan.experiment,
            "block": block.block,
            "attempt": attempt,
            "replicate": block.replicate,
            "tranche": block.tranche,
            "plan_sha256": self.plan_sha256,
            "host": block.host,
            "peer": block.peer,
            "load_host": block.load_host,
            "variant": block.variant,
            "load": {
                "tool": load.tool,
                "concurrency": load.concurrency,
                "threads": load.threads,
                "requests": load.requests,
                "keepalive": load.keepalive,
                "rate_rps": load.rate_rps,
                "offered": load.offered,
            },
            "profile": {
                "name": plan.profile.name,
                "warmup_s": plan.profile.warmup_s,
                "measure_s": plan.profile.measure_s,
            },
            "conditions": [],
            "failures": plan.failures,
            "started_wall_ns": time.time_ns(),
            "deployments": bindings,
            "hosts": {name: self._host(name, rules[name]["rules"]) for name in block.hosts},
            "tools": {load.tool: self._load_tool(block)},
            "preflight": preflight,
            "warnings": [one for of_host in warnings for one in of_host],
            "guests": self.guests.states(),
        }

    def _host(self, name: str, rules: Any) -> dict[str, Any]:
        host, facts = self.inventory.hosts[name], self.observers[name].facts
        return {
            "boot_id": facts["boot_id"],
            "arch": host.arch,
            "kind": host.kind,
            "emulated": host.emulated,
            "untested": self.seen.untested(host),
            "cpus": facts["cpus"],
            "environment": {**facts["environment"], "netfilter": rules},
        }

    def _load_tool(self, block: Block) -> dict[str, Any]:
        """Describe the load tool; one that runs inside is part of its image, and named by it."""
        if TOOLS[block.load.tool].capabilities.inside:
            return {"path": INSIDE, "version": None, "sha256": None}
        return self._tool(block.load_host, block.load.tool)

    def _tool(self, host: str, name: str) -> dict[str, Any]:
        key = (host, name)
        if key not in self._tools:
            self._tools[key] = self.runners[host].ask("tool", name=name)["tool"]
        return self._tools[key]
