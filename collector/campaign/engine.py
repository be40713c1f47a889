"""The campaign engine: block after block, deploy, measure, fetch, until the plan is done.

An attempt at a block is sealed whole or does not count; the engine redoes it, never a part of it.
Whatever ends the engine, the runners end themselves when their channel closes, and the next call
stops the jobs that this one left.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from paramiko import SSHException

from collector.blockfile import block_name
from collector.campaign import calls
from collector.campaign.cluster import Cluster
from collector.campaign.deployment import (
    LOAD,
    SIDECAR,
    Deployer,
    Order,
    Place,
    containers_of,
    lab_variables,
    orders,
)
from collector.campaign.errors import (
    BlockFailed,
    CampaignError,
    NoRoom,
    NotFetched,
    NotReadyError,
)
from collector.campaign.fetch import failed_runs, fetch_block, fetch_left
from collector.campaign.folder import Campaign
from collector.campaign.guests import Guests
from collector.campaign.mesh import Mesh
from collector.campaign.preflight import read_preflight
from collector.campaign.progress import Events
from collector.campaign.proofs import NAME as PROOFS
from collector.campaign.proofs import Prover, write_proofs
from collector.campaign.remote import (
    Remote,
    ask_all,
    connect,
    forwarded,
    push,
)
from collector.campaign.scaling import Scaling
from collector.campaign.spans import SAMPLED, read_spans
from collector.campaign.stopping import Precise, due
from collector.parse import TOOLS, Load
from collector.plan.inventory import Inventory
from collector.plan.model import Block
from collector.plan.tools import warmup_s

ATTEMPTS: Final = 3
BUSY_SHARE: Final = 0.05
CALM_S: Final = 30.0
LOCK_S: Final = 45.0
TIMEOUT_S: Final = 2.0
GRACE_S: Final = 30.0
REQUESTS_LIMIT_S: Final = 300.0
AGENT_PORT: Final = 8501
SKEW_S: Final = 2.0
WAKE_S: Final = 180.0
EMULATED_PATIENCE: Final = 10.0
MESH: Final = "mesh"  # in the values of a job's path that lead through sidecars
INSIDE: Final = "/local/load"
PROGRAMS: Final = "/usr/local/lib/socklab/programs"
RUN_INSIDE: Final = ("sudo", "-n", "/usr/local/lib/socklab/run-inside")


class Engine:
    """Runs one campaign. A context: leaving it closes every channel and stops every job."""

    def __init__(
        self, campaign: Campaign, inventory: Inventory, root: Path, program: tuple[bytes, str],
        images: Mapping[str, str], events: Events, precise: Precise,
    ) -> None:  # fmt: skip
        self.campaign = campaign
        self.plan = campaign.plan
        self._root = root
        self.events = events
        self._inventory = inventory
        self._program = program
        state = inventory.lab_state
        self._ssh = state / "ssh"
        self._cluster = Cluster(state)
        self._mesh = Mesh(state)
        fixed = lab_variables(state, images)
        self._deployer = Deployer(self._cluster, self._mesh, root, fixed, state / "secrets")
        self._observers: dict[str, Remote] = {}
        self._runners: dict[str, Remote] = {}
        self._tools: dict[tuple[str, str], dict[str, Any]] = {}
        self._stack = ExitStack()
        self._plan_sha256 = hashlib.sha256((campaign.folder / "plan.json").read_bytes()).hexdigest()
        self._spent: list[float] = []
        self._guests = Guests(inventory)
        self._seen = read_preflight(state)
        self._blocks = self.plan.blocks
        self._gone: dict[str, str] = {}
        self._growing: dict[str, Scaling] = {}
        self._grown: set[str] = set()
        self._precise = precise
        self._total = len(self.plan.blocks)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
        finally:
            self._guests.thaw()

    def _open(self, blocks: Sequence[Block]) -> None:
        """Reach the hosts of some blocks; emulated hosts that are not among them stand still."""
        self._stack.close()
        self._observers, self._runners = {}, {}
        self._blocks = tuple(blocks)
        if self._on_guests():
            if woken := self._guests.thaw():
                self._await(woken)
        elif frozen := self._guests.freeze():
            self.events.tell("wait", f"{', '.join(frozen)}: frozen while other hosts are measured")
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()

    def _on_guests(self) -> bool:
        return any(map(self.plan.on_guests, self._blocks))

    def _await(self, woken: list[str]) -> None:
        """Wait until hosts that were frozen are back in the cluster."""
        self.events.tell("wait", f"{', '.join(woken)}: awake; waiting for the cluster to see it")
        deadline = time.monotonic() + WAKE_S
        while True:
            try:
                return self._cluster.check(dict.fromkeys(woken, "was frozen"))
            except NotReadyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _start(self, stack: ExitStack) -> None:
        topology = {name for block in self._blocks for name in _ends(block)}
        load = {block.load_host for block in self._blocks}
        if self._meshed():
            self._mesh.check()
        self._cluster.check(dict.fromkeys(sorted(topology), "runs the topologies"))
        asking = {self._asking()} if self._spanning() else set()
        for name in sorted(topology | load | asking):
            host = self._inventory.hosts[name]
            own = set(host.cpus) & os.sched_getaffinity(0)
            if name in load and host.kind == "virtual" and own:
                # The controller shares this machine: it stays off the topologies' CPUs.
                os.sched_setaffinity(0, own)
            connection = connect(host, self._ssh)
            stack.callback(connection.close)
            path = push(connection, *self._program)
            self._observers[name] = self._remote(stack, host, connection, path)
            if name in load:
                self._runners[name] = self._remote(stack, host, connection, path)
                self._lock(self._runners[name])
                if brought := fetch_left(self.campaign, self._runners[name]):
                    said = f"{name}: fetched what was measured before: {', '.join(brought)}"
                    self.events.tell("fetch", said)
        self._settle()
        # Only now, with the load hosts in hand: no other engine's jobs can be among them.
        self._sweep("that an earlier call left")
        stack.callback(self._sweep, "at the end")

    def _sweep(self, which: str) -> None:
        """Stop every job of an engine; tell what cannot be stopped: the next call tries again."""
        try:
            left = self._cluster.ours()
            if left:
                self.events.tell("wait", f"stopping {len(left)} jobs {which}")
            problems = self._deployer.stop(left)
            self._sweep_mesh()
        except CampaignError as error:
            problems = [str(error)]
        for problem in problems:
            self.events.tell("error", problem)

    def _sweep_mesh(self) -> None:
        """Forget edges and registrations that no job stands for any more."""
        self._mesh.forbid_left()
        for name in sorted(self._mesh.registered_on() & self._observers.keys()):
            with forwarded(self._observers[name].connection, AGENT_PORT) as port:
                for one in self._mesh.sweep("127.0.0.1", port):
                    self.events.tell("wait", f"{name}: swept the registration {one}")

    def _remote(self, stack: ExitStack, host: Any, connection: Any, path: str) -> Remote:
        try:
            remote = Remote(host, connection, path)
        except BlockFailed as error:
            raise NotReadyError(str(error)) from None
        stack.callback(remote.close)
        if remote.facts["sha256"] != self._program[1]:
            raise NotReadyError(f"{host.name} runs another program than the plan embeds")
        refuse_clock(host.name, remote.facts["wall_ns"] / 1e9 - time.time())
        return remote

    def _lock(self, runner: Remote) -> None:
        """Take the load host; a runner whose controller died gives it up within its lease."""
        deadline = time.monotonic() + LOCK_S
        while held := runner.ask("lock", campaign=self.plan.campaign)["held_by"]:
            if time.monotonic() > deadline:
                raise NotReadyError(f"{runner.host.name}: another generator holds the host: {held}")
            self.events.tell("wait", f"{runner.host.name} is held by {held}; waiting for its lease")
            time.sleep(1.0)

    def run(self) -> None:
        """Do every block that is not done, in the plan's order."""
        self._settle()
        for some in due(self.plan, self.campaign.sealed, self._precise):
            tranche = some[0].tranche
            self._total = max(one.block for one in self.plan.blocks if one.tranche <= tranche)
            self._open(some)
            self._prepare(some)
            self._prove()
            for block in some:
                sealed = self.campaign.sealed()
                if block.block in sealed:
                    continue
                left = sum(one.block not in sealed for one in some)
                self.events.update(block=block.block, blocks=self._total, finished=len(sealed))
                self.events.update(left_s=self._left(left))
                self._block_until_whole(block)
        if not self._runners:  # who fetched the last block died: the jobs may still be there
            self._open(self.plan.blocks)
        self.campaign.finish()

    def _settle(self) -> None:
        """Judge the files that are here and that no engine has judged."""
        for (number, attempt), path in self.campaign.unsettled().items():
            problem = failed_runs(path)
            self.campaign.record(number, attempt, problem or "whole", bool(problem), {})

    def _prepare(self, some: Sequence[Block]) -> None:
        """Render every job of some blocks: a value that one refuses ends the campaign before them.

        Nomad alone reads a job's conditions, and the value may stand in the last block only.
        """
        blocks = "1 block" if len(some) == 1 else f"{len(some)} blocks"
        self.events.tell("deploy", f"rendering the jobs of {blocks}")
        for block in some:
            wanted = [order for order in orders(self.plan, block) if not order.program]
            self._deployer.prepare(wanted, self._place(block))

    def _prove(self) -> None:
        """Try what the mesh promises between hosts, once a campaign that goes through it there."""
        between = self._spanning()
        if not between or (self.campaign.folder / PROOFS).exists():
            return
        self.events.tell("deploy", "proofs: deploying four topologies, then trying seven claims")
        block = between[0]
        observers = {name: self._observers[name] for name in _hosts(block)}
        prover = Prover(
            self.plan.campaign, self._place(block), self._inventory, self._mesh, self._deployer,
            observers, self._observers[self._asking()], self.events,
        )  # fmt: skip
        write_proofs(self.campaign.folder, self.plan.campaign, prover.prove())

    def _spanning(self) -> list[Block]:
        """Return the blocks whose mesh spans two hosts."""
        return [block for block in self._blocks if block.peer] if self._meshed() else []

    def _meshed(self) -> bool:
        """Whether some arm goes through sidecars: its job has them, and its path says so."""
        return any(
            SIDECAR in (self._root / arm.job).read_text()
            and MESH in str(arm.variables.get("path", MESH))
            for arm in self.plan.arms.values()
            if arm.job
        )

    def _asking(self) -> str:
        """The host from which proofs are asked: the first that generates load."""
        return self._inventory.group("load")[0].name

    def _left(self, blocks: int) -> float:
        if self._spent:
            return round(blocks * sum(self._spent) / len(self._spent), 1)
        profile = self.plan.profile
        runs = len(self.plan.arms) + 1  # the baseline's copy
        return blocks * runs * (profile.warmup_s + profile.measure_s + 4.0)

    def _block_until_whole(self, block: Block) -> None:
        for number in range(1, ATTEMPTS + 1):
            attempt = self.campaign.next_attempt(block.block)
            self.campaign.begin(block.block, attempt)
            began = time.monotonic()
            try:
                problem = self._attempt(block, attempt, number == ATTEMPTS)
            except NotFetched as error:  # no outcome yet: the next connection brings the file
                problem = str(error)
            except (BlockFailed, OSError, EOFError, SSHException) as error:
                problem = str(error) or type(error).__name__
                self.campaign.record(block.block, attempt, problem, True, {})
                if self._is_final(error):
                    break
            if problem is None:
                self._spent.append(time.monotonic() - began)
                return
            self.events.tell("error", f"block {block.block}, attempt {attempt}: {problem}")
            self._revive()
            if block.block in self.campaign.sealed():
                return
        times = "once" if number == 1 else f"{number} times; the last"
        raise CampaignError(
            f"block {block.block} failed {times}: {problem}\n"
            "Mend it and run the same command again: it goes on with this block."
        )

    def _is_final(self, error: Exception) -> bool:
        """Whether another attempt cannot help: no room, and nothing of ours that may yet end."""
        try:
            return isinstance(error, NoRoom) and not self._cluster.ours()
        except CampaignError:
            return False

    def _revive(self) -> None:
        """Start anew what may have died with a failed attempt."""
        self._open(self._blocks)

    def _attempt(self, block: Block, attempt: int, last: bool) -> str | None:
        """Deploy, measure, fetch, judge; return why the block is to be redone, or None.

        The last attempt is kept even if a run of it failed: its rows are invalid, with the reason,
        and the campaign goes on.
        """
        named = [
            (order, order.identity(self.plan.campaign, block.block, attempt))
            for order in orders(self.plan, block)
        ]
        wanted = [(order, identity) for order, identity in named if not order.program]
        place = self._place(block)
        observers = {name: self._observers[name] for name in _ends(block)}
        runner = self._runners[block.load_host]
        clock = _Stages()
        try:
            where = " and ".join(_ends(block))
            self._say(block, "deploy", f"deploying {len(wanted)} arms on {where}")
            self._deployer.deploy(wanted, place, partial(self._say, block, "deploy"))
            clock.end("deploy")
            inside = TOOLS[block.load.tool].capabilities.inside
            bindings = self._deployer.bind(wanted, place, inside, observers, runner)
            for order, identity in named:
                if order.program:
                    bindings[order.key] = self._program_of(block, order, identity)
            clock.end("readiness")
            preflight = self._preflight(block)
            header = self._header(block, attempt, bindings, preflight)
            clock.end("preflight")
            answer = self._measure(block, attempt, header, bindings)
            clock.end("measure")
            # Nomad last: if it is silent, what is known without it still counts.
            moved = self._died(wanted) or self._disturbed() or self._moved(wanted, bindings)
            try:
                path = fetch_block(self.campaign, runner, block, attempt, answer["blobs"])
            except NotFetched as error:
                if moved is None:
                    raise
                raise BlockFailed(f"{moved}; {error}") from None
            clock.end("fetch")
            problem = moved or failed_runs(path)
            redo = problem is not None and not last
            self.campaign.record(block.block, attempt, problem or "whole", redo, clock.stages)
            if problem and last:
                self._say(block, "error", f"kept as it is after {ATTEMPTS} attempts: {problem}")
            return problem if redo else None
        finally:
            for growing in self._growing.values():
                growing.end()
            self._growing.clear()
            for left in self._deployer.stop([identity for _, identity in wanted]):
                self.events.tell("error", left)

    def _place(self, block: Block) -> Place:
        return Place(
            host=block.host,
            address=self._inventory.hosts[block.host].address,
            cpus=self._inventory.hosts[block.host].cpus,
            peer=block.peer,
            peer_address=self._inventory.hosts[block.peer].address if block.peer else None,
            patience=EMULATED_PATIENCE if self.plan.on_guests(block) else 1.0,
        )

    def _say(self, block: Block, event: str, text: str, **more: Any) -> None:
        prefix = f"{block.host} block {block.block} of {self._total}"
        self.events.tell(event, f"{prefix}: {text}", **more)

    def _preflight(self, block: Block) -> dict[str, Any]:
        """Wait for calm on both hosts, in the quick profile only look; keep what was seen."""
        deadline = time.monotonic() + (0 if self.plan.profile.name == "quick" else CALM_S)
        while True:
            remotes = [self._observers[name] for name in _hosts(block)]
            answers = ask_all(remotes, "foreign", seconds=1.0)
            shares = {name: answer["foreign_cpu_share"] for name, answer in answers.items()}
            busy = {name: share for name, share in shares.items() if (share or 0) > BUSY_SHARE}
            if not busy or time.monotonic() >= deadline:
                break
        for name, share in busy.items():
            self._say(block, "wait", f"{share:.0%} of {name}'s CPU is used outside the lab")
        return {name: {"foreign_cpu_share": share} for name, share in shares.items()}

    def _header(
        self, block: Block, attempt: int, bindings: dict[str, Any], preflight: dict[str, Any]
    ) -> dict[str, Any]:
        hosts = {}
        rules = ask_all([self._observers[name] for name in _hosts(block)], "rules")
        for name in _hosts(block):
            host, facts = self._inventory.hosts[name], self._observers[name].facts
            hosts[name] = {
                "boot_id": facts["boot_id"],
                "arch": host.arch,
                "kind": host.kind,
                "emulated": host.emulated,
                "untested": self._seen.untested(host),
                "cpus": facts["cpus"],
                "environment": {**facts["environment"], "netfilter": rules[name]["rules"]},
            }
        profile, load = self.plan.profile, block.load
        return {
            "campaign": self.plan.campaign,
            "experiment": self.plan.experiment,
            "block": block.block,
            "attempt": attempt,
            "replicate": block.replicate,
            "tranche": block.tranche,
            "plan_sha256": self._plan_sha256,
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
                "name": profile.name,
                "warmup_s": profile.warmup_s,
                "measure_s": profile.measure_s,
            },
            "conditions": [],
            "failures": self.plan.failures,
            "started_wall_ns": time.time_ns(),
            "deployments": bindings,
            "hosts": hosts,
            "tools": {load.tool: self._tool(block)},
            "preflight": preflight,
            "warnings": [
                warning
                for name in hosts
                for warning in self._seen.warnings(self._inventory.hosts[name])
            ],
            "guests": self._guests.states(),
        }

    def _tool(self, block: Block) -> dict[str, Any]:
        """Describe the load tool; one that runs inside is part of its image, and named by it."""
        if TOOLS[block.load.tool].capabilities.inside:
            return {"path": INSIDE, "version": None, "sha256": None}
        return self._described(block.load_host, block.load.tool)

    def _described(self, host: str, name: str) -> dict[str, Any]:
        key = (host, name)
        if key not in self._tools:
            self._tools[key] = self._runners[host].ask("tool", name=name)["tool"]
        return self._tools[key]

    def _program_of(self, block: Block, order: Order, identity: str) -> dict[str, Any]:
        """Bind an arm that is a program: nothing is deployed, the load tool is the whole arm."""
        name, *words = order.program
        try:
            program = self._described(block.host, f"{PROGRAMS}/{name}")
        except BlockFailed:
            raise NotReadyError(
                f"{block.host} has no program {name}: ansible-playbook lab.yml --tags workloads"
            ) from None
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
            "cpus": self._runners[block.host].facts["cpus"],
        }

    def _invocation(
        self, block: Block, binding: dict[str, Any], seconds: float, measured: bool
    ) -> dict[str, Any]:
        load, url = block.load, binding["endpoint"]
        requests = load.requests if measured else None
        made = TOOLS[load.tool].arguments(
            Load(
                url=url,
                concurrency=load.concurrency,
                threads=load.threads,
                duration_s=None if requests else seconds,
                requests=requests,
                keepalive=load.keepalive,
                timeout_s=TIMEOUT_S,
                rate_rps=load.rate_rps,
            )
        )
        limit_s = REQUESTS_LIMIT_S if requests else seconds + GRACE_S
        argv = list(made.argv)
        if program := binding.get("program"):
            argv = [program["path"], *program["words"], *argv[1:]]
        elif url is None:
            container = binding["containers"][LOAD]["id"]
            argv = [*RUN_INSIDE, container, f"{limit_s - GRACE_S / 2:.0f}", *argv]
        return {
            "argv": argv,
            "env": dict(made.env),
            "files": dict(made.files),
            "limit_s": limit_s,
        }

    def _measure(
        self, block: Block, attempt: int, header: dict[str, Any], bindings: dict[str, Any]
    ) -> dict[str, Any]:
        runner, profile = self._runners[block.load_host], self.plan.profile
        runs: list[dict[str, Any]] = []
        for run in block.runs:
            binding = bindings[f"{run.arm}/{run.copy}"]
            runs.append(
                {
                    "run": run.run,
                    "position": run.position,
                    "arm": run.arm,
                    "copy": run.copy,
                    "measure": self._invocation(block, binding, profile.measure_s, True),
                }
            )
            if before_s := warmup_s(profile, block.load):
                runs[-1]["warmup"] = self._invocation(block, binding, before_s, False)
            if self.plan.calls and block.replicate == 1 and not self.plan.on_guests(block):
                traced = self._invocation(block, binding, calls.TRACED_S, False)
                runs[-1]["traced"] = {**traced, "files": {}}
        slots = {run.run: run for run in block.runs}
        name = block_name(block.block, attempt)
        runner.post("block", name=name, header=header, runs=runs)
        limit_s = max(one["measure"]["limit_s"] for one in runs) + GRACE_S
        while True:
            message = runner.receive(limit_s)
            if message["event"] == "answer":
                return message
            run = slots[message["run"]]
            if message["event"] == "snapshot":
                binding = bindings[f"{run.arm}/{run.copy}"]
                snapshots = self._snapshots(block, message["when"], binding, bindings)
                runner.post("snapshots", run=run.run, snapshots=snapshots)
                if message["when"] == "before" and "program" not in binding:
                    self._grow(block, binding["job"])
            elif message["event"] == "trace":
                containers = bindings[f"{run.arm}/{run.copy}"]["containers"]
                change = calls.begin if message["when"] == "begin" else calls.end
                runner.post("traced", run=run.run, said=change(containers, self._observers))
            elif message["state"] == "done":
                self._say(block, "run", self._figure(block, run, message), run=run.run)

    def _snapshots(
        self, block: Block, when: str, binding: dict[str, Any], bindings: dict[str, Any]
    ) -> dict[str, Any]:
        # Before anything else is asked of the observer that watched it.
        growing = self._growing.pop(binding["job"], None)
        scaled = {} if growing is None else {"scaled": growing.end()}
        answers = ask_all([self._observers[name] for name in _hosts(block)], "snapshot")
        snapshots = {name: answer["snapshot"] for name, answer in answers.items()} | scaled
        if when == "after":
            observers = {name: self._observers[name] for name in _ends(block)}
            now = containers_of(bindings, observers).get(binding["job"], {})
            snapshots["containers"] = {
                task: {"id": one["id"], "started_at": one["started_at"]}
                for task, one in now.items()
            }
            if binding["variables"].get("trace") == SAMPLED:
                snapshots["spans"] = read_spans(self._cluster, binding, block.host)
            # Nomad tells of a dead task a moment later; by then the block may be over.
            for task, one in binding["containers"].items():
                if task not in now or now[task]["id"] != one["id"]:
                    self._gone[binding["job"]] = task
        return snapshots

    def _grow(self, block: Block, identity: str) -> None:
        """Ask for more instances of a deployment that may have them, now that it is measured."""
        if (growth := self._deployer.growth_of(identity)) is None:
            return
        self._grown.add(identity)
        observer = self._observers[block.host]
        self._growing[identity] = Scaling(self._cluster, identity, growth, observer)

    def _figure(self, block: Block, run: Any, message: dict[str, Any]) -> str:
        text = f"{run.arm}/{run.copy} {block.load.tool} c={block.load.concurrency}"
        if message["exit_code"] != 0:
            return f"{text}: exit code {message['exit_code']}"
        figure = TOOLS[block.load.tool].figure(message["stdout"].encode())
        return f"{text}: {figure or 'no figure'}"

    def _disturbed(self) -> str | None:
        """Say which emulated host took the machine's CPUs while others were measured."""
        awake = [] if self._on_guests() else self._guests.awake()
        return f"{', '.join(awake)}: ran meanwhile, on the same CPUs" if awake else None

    def _died(self, wanted: list[tuple[Order, str]]) -> str | None:
        """Say which container did not outlive a run; the runs stay on record, superseded."""
        for _, identity in wanted:
            if task := self._gone.get(identity):
                return f"{identity}: the container of {task} did not outlive its run"
        return None

    def _moved(self, wanted: list[tuple[Order, str]], bindings: dict[str, Any]) -> str | None:
        """Say which deployment Nomad ended or put elsewhere before the block was over."""
        for order, identity in wanted:
            bound = bindings[order.key]
            ours = {bound[key] for key in ("allocation", "peer_allocation") if bound[key]}
            try:
                running = self._cluster.running(identity)
            except BlockFailed as error:
                raise NotFetched(f"measured, and not fetched: {error}") from None
            if running != ours and not (identity in self._grown and ours <= running):
                return f"{identity}: its allocation did not outlive the block"
        return None


def refuse_clock(host: str, ahead_s: float) -> None:
    """Refuse a host whose clock is further from the controller's than ``SKEW_S``."""
    if abs(ahead_s) > SKEW_S:
        raise NotReadyError(
            f"{host}: its clock is {abs(ahead_s):.1f} s "
            f"{'ahead of' if ahead_s > 0 else 'behind'} the controller's: its certificates "
            "and the times of its rows would be wrong. Set it, and let both follow NTP"
        )


def _ends(block: Block) -> list[str]:
    """Hosts of the topology."""
    return [block.host, block.peer] if block.peer else [block.host]


def _hosts(block: Block) -> list[str]:
    """Hosts whose counters belong to the block."""
    return sorted({*_ends(block), block.load_host})


class _Stages:
    """Seconds of each stage of an attempt."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.stages[name] = round(now - self._last, 3)
        self._last = now
