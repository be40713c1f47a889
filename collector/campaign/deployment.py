"""One block's deployments: every arm up at once, each as its own Nomad job, bound to what runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.campaign.cluster import POLL_S, PREFIX, Cluster
from collector.campaign.errors import BlockFailed, CampaignError, UsageError
from collector.campaign.mesh import Mesh
from collector.campaign.remote import Remote, ask_all
from collector.campaign.scaling import Growth, growth_of
from collector.plan.experiment import HOST_CPUS, filled
from collector.plan.jobfile import declared_variables
from collector.plan.plan import Plan

AT_ONCE: Final = 2  # arms that an emulated host starts
READY_S: Final = 60.0
FACTS_S: Final = 25.0  # the mesh task renews them every ten seconds
SIDECAR: Final = "sidecar-"
LOAD: Final = "load"
# Below Nomad's dynamic range; each deployment of a block has its own.
FIRST_PORT: Final = 12000
PORTS: Final = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What to deploy: an arm's job with its variables, and the names it goes by.

    ``program``: of an arm that is nothing to deploy, what runs on the host; ``job`` is None then.
    """

    key: str  # arm/copy
    arm: str
    copy: str
    job: str | None
    variables: Mapping[str, Any]
    program: tuple[str, ...] = ()

    def identity(self, campaign: str, block: int, attempt: int) -> str:
        """Name of the Nomad job, unique to this attempt."""
        return f"{PREFIX}{campaign}-b{block:04d}-a{attempt}-{self.arm}-{self.copy}"


def orders(plan: Plan, block: Any) -> list[Order]:
    """Return what a block deploys or starts, in the plan's order of running."""
    variant = plan.variants[block.variant]
    ours = {HOST_CPUS: ",".join(map(str, plan.hosts[block.host].cpus))}
    found = []
    for run in block.runs:
        arm = plan.arms[run.arm]
        variables = {**arm.variables, **variant}
        program = tuple(filled(word, variables | ours) for word in arm.program)
        key = f"{run.arm}/{run.copy}"
        found.append(Order(key, run.arm, run.copy, arm.job, variables, program))
    return found


def endpoint(allocation: Mapping[str, Any], tls: bool) -> str:
    """Return the URL of the allocation's port ``http``."""
    for port in allocation["AllocatedResources"]["Shared"]["Ports"] or []:
        if port["Label"] == "http":
            return f"{'https' if tls else 'http'}://{port['HostIP']}:{port['Value']}/"
    raise BlockFailed(f"{allocation['JobID']}: its group has no port labelled http")


def lab_variables(state: Path, images: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are the same in every job of a lab, where a job declares them."""
    password = state / "secrets" / "mesh" / "database"
    return {
        **{f"image_{name}": reference for name, reference in images.items()},
        "mesh_ca": (state / "secrets" / "tls" / "ca.pem").read_text(),
        **({"database_password": password.read_text().strip()} if password.exists() else {}),
    }


def sidecars(group: Mapping[str, Any]) -> list[str]:
    """Return the mesh tasks of a job's group; none without a mesh."""
    return [task["Name"] for task in group["Tasks"] if task["Name"].startswith(SIDECAR)]


def ends_of(job: Mapping[str, Any]) -> list[str]:
    """Return the services of a job's mesh, each of which calls the next; none without a mesh."""
    return [task.removeprefix(SIDECAR) for group in job["TaskGroups"] for task in sidecars(group)]


def ports_of(wanted: Sequence[Order]) -> dict[str, int]:
    """Return the first port of each deployment: the same in every block of a campaign."""
    keys = sorted(order.key for order in wanted)
    return {key: FIRST_PORT + PORTS * index for index, key in enumerate(keys)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block's deployments run: the measured host, and the far end where there is one.

    ``patience`` multiplies the waits for a start: an emulated host is an order of magnitude slower.
    """

    host: str
    address: str
    cpus: tuple[int, ...]
    peer: str | None
    peer_address: str | None
    patience: float = 1.0


class Deployer:
    """Renders each arm once a campaign, then registers it again for every block."""

    def __init__(
        self, cluster: Cluster, mesh: Mesh, root: Path, fixed: Mapping[str, Any],
        secrets: Path,
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._mesh = mesh
        self._root = root
        self._fixed = fixed
        self._tls = secrets / "tls"
        self._rendered: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        self._ports: dict[str, int] = {}

    def render(self, order: Order, place: Place, port: int) -> dict[str, Any]:
        """Return the job as the API takes it; ``port`` is the first of the job's own ports."""
        key = (order.job, place, port, tuple(sorted(order.variables.items())))
        if key not in self._rendered:
            path = self._root / str(order.job)
            cpus = ",".join(map(str, place.cpus))
            ours = {**self._fixed, "node": place.host, "node_address": place.address}
            ours |= {HOST_CPUS: cpus, "port": port}
            if place.peer is not None:
                ours |= {"peer": place.peer, "peer_address": place.peer_address}
            if order.variables.get("tls") or order.variables.get("path") == "tcp-tls":
                folder = self._tls / (place.peer or place.host)
                ours["tls_certificate"] = (folder / "web.pem").read_text()
                ours["tls_key"] = (folder / "web.key").read_text()
            declared = declared_variables(path.read_text())
            wanted = {name: value for name, value in ours.items() if name in declared}
            try:
                self._rendered[key] = self._cluster.render(path, wanted | dict(order.variables))
            except UsageError as error:
                said = ", ".join(f"{name}={value}" for name, value in order.variables.items())
                raise UsageError(
                    f"the job file refuses arm {order.arm} with {said}: {error}"
                ) from None
        return self._rendered[key]

    def prepare(self, wanted: Sequence[Order], place: Place) -> None:
        """Render what a block is to deploy; ``UsageError`` where a job refuses a value."""
        ports = ports_of(wanted)
        for order in wanted:
            self.render(order, place, ports[order.key])

    def deploy(
        self, wanted: Sequence[tuple[Order, str]], place: Place,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Allow and register every arm; ``wanted`` has each with its job's name.

        On an emulated host two at a time, told when they run: each task starts two programs of
        Nomad's own, which wait a minute for each other, and those of many tasks at once take longer
        there.
        """
        ports = ports_of([order for order, _ in wanted])
        for number, (order, identity) in enumerate(wanted, start=1):
            job = self.render(order, place, ports[order.key])
            self._jobs[identity], self._ports[identity] = job, ports[order.key]
            if ends := ends_of(job):
                self._mesh.allow(identity, ends)
            self._cluster.register(identity, job)
            if place.patience > 1 and (number % AT_ONCE == 0 or number == len(wanted)):
                for _, other in wanted[:number][-AT_ONCE:]:
                    self._allocations(other, place)
                tell(f"{number} of {len(wanted)} arms run")

    def _allocations(self, identity: str, place: Place) -> dict[str, Any]:
        """Wait until every group of a job runs; its allocations by group, in the job's order."""
        groups = [group["Name"] for group in self._jobs[identity]["TaskGroups"]]
        running = self._cluster.wait_running(identity, groups, place.patience)
        return {name: running[name] for name in groups}

    def stop(self, identities: Sequence[str]) -> list[str]:
        """Stop the jobs and take away the edges that were allowed here; returns what went wrong."""
        problems = self._cluster.stop(list(identities))
        jobs = {one: self._jobs.pop(one) for one in identities if one in self._jobs}
        try:
            for identity, job in jobs.items():
                if ends := ends_of(job):
                    self._mesh.forbid(identity, ends)
        except CampaignError as error:
            problems.append(str(error))
        return problems

    def port_of(self, identity: str) -> int:
        """Return the first port of a deployment."""
        return self._ports[identity]

    def growth_of(self, identity: str) -> Growth | None:
        """Return which group of a deployment may grow; None where none may."""
        return growth_of(self._jobs[identity])

    def bind(
        self, wanted: Sequence[tuple[Order, str]], place: Place, inside: bool,
        observers: Mapping[str, Remote], runner: Remote,
    ) -> dict[str, dict[str, Any]]:  # fmt: skip
        """Wait until each deployment answers rightly to the load; return the bindings.

        ``inside``: the load tool runs in the deployment's own container, and asks from there.
        """
        began = time.monotonic()
        found: dict[str, dict[str, Any]] = {}
        for order, identity in wanted:
            near, far, *_ = [*self._allocations(identity, place).values(), None]
            url = None if inside else endpoint(near, bool(order.variables.get("tls")))
            found[order.key] = {
                "job": identity,
                "arm": order.arm,
                "copy": order.copy,
                "path": str(order.variables.get("path", order.arm)),
                "variables": dict(order.variables),
                "node": near["NodeID"],
                "allocation": near["ID"],
                "peer_node": far and far["NodeID"],
                "peer_allocation": far and far["ID"],
                "endpoint": url,
            }
        self._bind_containers(found, observers)
        for binding in found.values():
            binding["body_bytes"] = self._wait_ready(binding, runner, READY_S * place.patience)
            binding["readiness_s"] = round(time.monotonic() - began, 3)
        # Only now: the facts may be seconds late, and are no part of being ready.
        for binding in found.values():
            binding["sidecars"] = self._sidecars(binding, FACTS_S * place.patience)
        return found

    def _wait_ready(self, binding: Mapping[str, Any], runner: Remote, limit_s: float) -> int | None:
        """Wait for the right answer; its size in bytes, None if it is asked from within."""
        if binding["endpoint"] is not None:
            what = {"url": binding["endpoint"], "services": binding["variables"].get("services")}
        else:
            what = {"container": binding["containers"][LOAD]["id"]}
        answer = runner.ask("probe", wait_s=limit_s + 10, limit_s=limit_s, **what)
        if answer["ready"]:
            size: int | None = answer["body_bytes"]
            return size
        said = self._mesh.diagnose(binding["job"], ends_of(self._jobs[binding["job"]]))
        said += self._cluster.job_lines(binding["job"])
        raise BlockFailed(
            f"{binding['job']} runs but does not answer rightly at "
            f"{binding['endpoint'] or 'its upstream'} within {limit_s:.0f} s: "
            f"{answer['reason']}\n  " + "\n  ".join(said)
        )

    def _bind_containers(
        self, found: dict[str, dict[str, Any]], observers: Mapping[str, Remote]
    ) -> None:
        listed = _containers_of(found, observers)
        answers = ask_all(observers.values(), "images")
        for binding in found.values():
            binding["containers"] = listed[binding["job"]]
            if not binding["containers"]:
                raise BlockFailed(f"{binding['job']}: no container of its allocation on the host")
            binding["images"] = {
                task: answers[one["host"]]["images"][one["image"]]
                for task, one in binding["containers"].items()
                if one["image"] in answers[one["host"]]["images"]
            }

    def _sidecars(self, binding: Mapping[str, Any], limit_s: float) -> dict[str, dict[str, Any]]:
        """Read what each Envoy runs with, as its mesh task wrote it."""
        groups = self._jobs[binding["job"]]["TaskGroups"]
        allocations = (binding["allocation"], binding["peer_allocation"])
        where = {
            task: allocation
            for group, allocation in zip(groups, allocations, strict=False)
            for task in sidecars(group)
        }
        if len(where) != len(ends_of(self._jobs[binding["job"]])):
            raise BlockFailed(f"{binding['job']}: sidecars in more than two groups are not read")
        found = {}
        for task, allocation in where.items():
            host = binding["containers"][task]["host"]
            path = f"/alloc/data/{task}.json"
            deadline = time.monotonic() + limit_s
            while not (facts := self._cluster.read_facts(allocation, path)).get("ciphers"):
                if time.monotonic() > deadline:
                    raise BlockFailed(f"{binding['job']}: {task} wrote no facts of its Envoy")
                time.sleep(POLL_S)
            found[task] = {"host": host, **facts}
        return found


def _containers_of(
    bindings: Mapping[str, Mapping[str, Any]], observers: Mapping[str, Remote]
) -> dict[str, dict[str, dict[str, Any]]]:
    """List the containers of bound deployments on every host: job to task to container."""
    jobs = {
        binding[key]: binding["job"]
        for binding in bindings.values()
        for key in ("allocation", "peer_allocation")
        if binding[key]
    }
    found: dict[str, dict[str, dict[str, Any]]] = {job: {} for job in jobs.values()}
    answers = ask_all(observers.values(), "containers", allocations=sorted(jobs))
    for host, answer in answers.items():
        for one in answer["containers"]:
            rest = {key: one[key] for key in one if key != "task"}
            found[jobs[one["allocation"]]][one["task"]] = {"host": host, **rest}
    return found
