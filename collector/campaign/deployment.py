"""One block's deployments: every arm up at once, each as its own Nomad job, bound to what runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.campaign.cluster import PREFIX, Cluster
from collector.campaign.errors import BlockFailed
from collector.campaign.remote import Remote
from collector.plan.jobfile import declared_variables
from collector.plan.plan import Plan

READY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to deploy: an arm's job with its variables, and the names it goes by."""

    key: str  # arm/copy
    arm: str
    copy: str
    job: str
    variables: Mapping[str, Any]

    def identity(self, campaign: str, block: int, attempt: int) -> str:
        """Name of the Nomad job, unique to this attempt."""
        return f"{PREFIX}{campaign}-b{block:04d}-a{attempt}-{self.arm}-{self.copy}"


def orders(plan: Plan, block: Any) -> list[Order]:
    """Return what a block deploys, in the plan's order of running."""
    variant = plan.variants[block.variant]
    return [
        Order(
            f"{run.arm}/{run.copy}",
            run.arm,
            run.copy,
            plan.arms[run.arm].job,
            {**plan.arms[run.arm].variables, **variant},
        )
        for run in block.runs
    ]


def endpoint(allocation: Mapping[str, Any], tls: bool) -> str:
    """Return the URL of the allocation's port ``http``."""
    for port in allocation["AllocatedResources"]["Shared"]["Ports"] or []:
        if port["Label"] == "http":
            return f"{'https' if tls else 'http'}://{port['HostIP']}:{port['Value']}/"
    raise BlockFailed(f"{allocation['JobID']}: its group has no port labelled http")


class Deployer:
    """Renders each arm once a campaign, then registers it again for every block."""

    def __init__(
        self, cluster: Cluster, root: Path, fixed: Mapping[str, Any], web_tls: Path
    ) -> None:
        self._cluster = cluster
        self._root = root
        self._fixed = fixed
        self._web_tls = web_tls
        self._rendered: dict[tuple[Any, ...], dict[str, Any]] = {}

    def render(self, order: Order, host: str, cores: int) -> dict[str, Any]:
        """Return the job as the API takes it."""
        key = (order.job, host, tuple(sorted(order.variables.items())))
        if key not in self._rendered:
            path = self._root / order.job
            ours = {**self._fixed, "node": host, "host_cores": cores}
            if order.variables.get("tls"):
                ours["tls_certificate"] = (self._web_tls / host / "web.pem").read_text()
                ours["tls_key"] = (self._web_tls / host / "web.key").read_text()
            declared = declared_variables(path.read_text())
            wanted = {name: value for name, value in ours.items() if name in declared}
            self._rendered[key] = self._cluster.render(path, wanted | dict(order.variables))
        return self._rendered[key]

    def deploy(self, wanted: Iterable[tuple[Order, str]], host: str, cores: int) -> None:
        """Register every arm; ``wanted`` has each with its job's name."""
        for order, identity in wanted:
            self._cluster.register(identity, self.render(order, host, cores))

    def bind(
        self, wanted: Iterable[tuple[Order, str]], observer: Remote, runner: Remote
    ) -> dict[str, dict[str, Any]]:
        """Wait until each deployment answers rightly to the load host; return the binding."""
        began = time.monotonic()
        found: dict[str, dict[str, Any]] = {}
        for order, identity in wanted:
            allocation = self._cluster.wait_running(identity)
            url = endpoint(allocation, bool(order.variables.get("tls")))
            answer = runner.ask("probe", wait_s=READY_S + 10, url=url, limit_s=READY_S)
            if not answer["ready"]:
                tasks = allocation["TaskStates"]
                said = [
                    line
                    for task in tasks
                    for line in self._cluster.last_lines(allocation["ID"], task, "stderr")
                ]
                raise BlockFailed(
                    f"{identity} runs but does not answer rightly at {url} within {READY_S:.0f} s: "
                    f"{answer['reason']}\n  " + "\n  ".join(said)
                )
            found[order.key] = {
                "job": identity,
                "arm": order.arm,
                "copy": order.copy,
                "path": str(order.variables.get("path", order.arm)),
                "variables": dict(order.variables),
                "node": allocation["NodeID"],
                "allocation": allocation["ID"],
                "endpoint": url,
                "body_bytes": answer["body_bytes"],
                "readiness_s": round(time.monotonic() - began, 3),
            }
        self._bind_containers(found, observer)
        return found

    def _bind_containers(self, found: dict[str, dict[str, Any]], observer: Remote) -> None:
        allocations = [one["allocation"] for one in found.values()]
        listed = observer.ask("containers", allocations=allocations)["containers"]
        for binding in found.values():
            binding["containers"] = {
                one["task"]: {key: one[key] for key in one if key not in ("task", "allocation")}
                for one in listed
                if one["allocation"] == binding["allocation"]
            }
            if not binding["containers"]:
                raise BlockFailed(f"{binding['job']}: no container of its allocation on the host")
