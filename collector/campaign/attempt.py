"""One attempt at a block: deploy, measure, fetch, judge. It is sealed whole or does not count."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from collector.blockfile import block_name
from collector.campaign import calls
from collector.campaign.deployment import LOAD, Order, orders
from collector.campaign.errors import BlockFailed, NotFetched
from collector.campaign.fetch import failed_runs, fetch_block
from collector.campaign.reach import Reach
from collector.campaign.remote import ask_all
from collector.campaign.scaling import Scaling
from collector.campaign.spans import SAMPLED, read_spans
from collector.parse import TOOLS, Load
from collector.plan.model import Block, Run
from collector.plan.tools import warmup_s

ATTEMPTS: Final = 3
BUSY_SHARE: Final = 0.05
CALM_S: Final = 30.0
TIMEOUT_S: Final = 2.0
GRACE_S: Final = 30.0
REQUESTS_LIMIT_S: Final = 300.0
RUN_INSIDE: Final = ("sudo", "-n", "/usr/local/lib/socklab/run-inside")


class Attempt:
    """The ``number``-th attempt at a block, to be run once.

    ``total``: how many blocks a person expects; ``guests_run``: emulated hosts are measured now, so
    they may use the machine's CPUs.
    """

    def __init__(
        self, reach: Reach, block: Block, number: int, *, total: int, guests_run: bool
    ) -> None:
        self._reach = reach
        self._plan = reach.campaign.plan
        self._block = block
        self._number = number
        self._total = total
        self._guests_run = guests_run
        self._observers = {name: reach.observers[name] for name in block.hosts}
        self._ends = {name: reach.observers[name] for name in block.ends}
        self._runner = reach.runners[block.load_host]
        self._bindings: dict[str, dict[str, Any]] = {}
        self._growing: dict[str, Scaling] = {}
        self._grown: set[str] = set()
        self._gone: dict[str, str] = {}

    def run(self, last: bool) -> str | None:
        """Return why the block is to be redone, or None.

        The last attempt is kept even if a run of it failed: its rows are invalid, with the reason,
        and the campaign goes on. Raises ``NotFetched`` while the outcome is still on the host, and
        ``BlockFailed`` or ssh's errors where there is none.
        """
        block, campaign = self._block, self._reach.campaign
        named = [
            (order, order.identity(self._plan.campaign, block.block, self._number))
            for order in orders(self._plan, block)
        ]
        wanted = [(order, identity) for order, identity in named if not order.program]
        clock = _Stages()
        try:
            self._deploy(named, wanted, clock)
            preflight = self._preflight()
            header = self._reach.header(block, self._number, self._bindings, preflight)
            clock.end("preflight")
            answer = self._measure(header)
            clock.end("measure")
            # Nomad last: if it is silent, what is known without it still counts.
            moved = self._died(wanted) or self._disturbed() or self._moved(wanted)
            try:
                path = fetch_block(campaign, self._runner, block, self._number, answer["blobs"])
            except NotFetched as error:
                if moved is None:
                    raise
                raise BlockFailed(f"{moved}; {error}") from None
            clock.end("fetch")
            problem = moved or failed_runs(path)
            redo = problem is not None and not last
            campaign.record(block.block, self._number, problem or "whole", redo, clock.stages)
            if problem and last:
                self._say("error", f"kept as it is after {ATTEMPTS} attempts: {problem}")
            return problem if redo else None
        finally:
            for growing in self._growing.values():
                growing.end()
            for left in self._reach.deployer.stop([identity for _, identity in wanted]):
                self._reach.events.tell("error", left)

    def _say(self, event: str, text: str, **more: Any) -> None:
        prefix = f"{self._block.host} block {self._block.block} of {self._total}"
        self._reach.events.tell(event, f"{prefix}: {text}", **more)

    def _deploy(
        self, named: list[tuple[Order, str]], wanted: list[tuple[Order, str]], clock: _Stages
    ) -> None:
        block, deployer = self._block, self._reach.deployer
        place = self._reach.place(block)
        self._say("deploy", f"deploying {len(wanted)} arms on {' and '.join(block.ends)}")
        deployer.deploy(wanted, place, partial(self._say, "deploy"))
        clock.end("deploy")
        inside = TOOLS[block.load.tool].capabilities.inside
        self._bindings = deployer.bind(wanted, place, inside, self._ends, self._runner)
        for order, identity in named:
            if order.program:
                self._bindings[order.key] = self._reach.program(block, order, identity)
        clock.end("readiness")

    def _preflight(self) -> dict[str, Any]:
        """Wait for calm on the hosts, in the quick profile only look; keep what was seen."""
        deadline = time.monotonic() + (0 if self._plan.profile.name == "quick" else CALM_S)
        while True:
            answers = ask_all(self._observers.values(), "foreign", seconds=1.0)
            shares = {name: answer["foreign_cpu_share"] for name, answer in answers.items()}
            busy = {name: share for name, share in shares.items() if (share or 0) > BUSY_SHARE}
            if not busy or time.monotonic() >= deadline:
                break
        for name, share in busy.items():
            self._say("wait", f"{share:.0%} of {name}'s CPU is used outside the lab")
        return {name: {"foreign_cpu_share": share} for name, share in shares.items()}

    def _invocation(
        self, binding: Mapping[str, Any], seconds: float, measured: bool
    ) -> dict[str, Any]:
        load, url = self._block.load, binding["endpoint"]
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

    def _asked(self, run: Run) -> dict[str, Any]:
        """What the runner is to do for one run."""
        block, profile, binding = self._block, self._plan.profile, self._binding(run)
        asked = {
            "run": run.run,
            "position": run.position,
            "arm": run.arm,
            "copy": run.copy,
            "measure": self._invocation(binding, profile.measure_s, True),
        }
        if before_s := warmup_s(profile, block.load):
            asked["warmup"] = self._invocation(binding, before_s, False)
        if self._plan.calls and block.replicate == 1 and not self._plan.on_guests(block):
            asked["traced"] = self._invocation(binding, calls.TRACED_S, False) | {"files": {}}
        return asked

    def _binding(self, run: Run) -> dict[str, Any]:
        return self._bindings[f"{run.arm}/{run.copy}"]

    def _measure(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Let the runner measure the block, and give it the snapshots that it asks for."""
        runs = [self._asked(run) for run in self._block.runs]
        slots = {run.run: run for run in self._block.runs}
        name = block_name(self._block.block, self._number)
        self._runner.post("block", name=name, header=header, runs=runs)
        limit_s = max(one["measure"]["limit_s"] for one in runs) + GRACE_S
        while True:
            message = self._runner.receive(limit_s)
            if message["event"] == "answer":
                return message
            run = slots[message["run"]]
            binding = self._binding(run)
            if message["event"] == "snapshot":
                snapshots = self._snapshots(message["when"], binding)
                self._runner.post("snapshots", run=run.run, snapshots=snapshots)
                if message["when"] == "before" and "program" not in binding:
                    self._grow(binding["job"])
            elif message["event"] == "trace":
                change = calls.begin if message["when"] == "begin" else calls.end
                said = change(binding["containers"], self._reach.observers)
                self._runner.post("traced", run=run.run, said=said)
            elif message["state"] == "done":
                self._say("run", self._figure(run, message), run=run.run)

    def _snapshots(self, when: str, binding: Mapping[str, Any]) -> dict[str, Any]:
        # Before anything else is asked of the observer that watched it.
        growing = self._growing.pop(binding["job"], None)
        scaled = {} if growing is None else {"scaled": growing.end()}
        measured = [one["id"] for one in binding["containers"].values()]
        answers = ask_all(self._observers.values(), "snapshot", processes_of=measured)
        snapshots = {name: answer["snapshot"] for name, answer in answers.items()} | scaled
        if when == "after":
            running = {one for answer in answers.values() for one in answer["running"]}
            snapshots["containers"] = {
                task: {"id": one["id"], "started_at": one["started_at"]}
                for task, one in binding["containers"].items()
                if one["id"] in running
            }
            if binding["variables"].get("trace") == SAMPLED:
                snapshots["spans"] = read_spans(self._reach.cluster, binding, self._block.host)
            # Nomad tells of a dead task a moment later; by then the block may be over.
            for task in binding["containers"].keys() - snapshots["containers"].keys():
                self._gone[binding["job"]] = task
        return snapshots

    def _grow(self, identity: str) -> None:
        """Ask for more instances of a deployment that may have them, now that it is measured."""
        if (growth := self._reach.deployer.growth_of(identity)) is None:
            return
        self._grown.add(identity)
        observer = self._observers[self._block.host]
        self._growing[identity] = Scaling(self._reach.cluster, identity, growth, observer)

    def _figure(self, run: Run, message: Mapping[str, Any]) -> str:
        load = self._block.load
        text = f"{run.arm}/{run.copy} {load.tool} c={load.concurrency}"
        if message["exit_code"] != 0:
            return f"{text}: exit code {message['exit_code']}"
        figure = TOOLS[load.tool].figure(message["stdout"].encode())
        return f"{text}: {figure or 'no figure'}"

    def _disturbed(self) -> str | None:
        """Say which emulated host took the machine's CPUs while others were measured."""
        awake = [] if self._guests_run else self._reach.guests.awake()
        return f"{', '.join(awake)}: ran meanwhile, on the same CPUs" if awake else None

    def _died(self, wanted: list[tuple[Order, str]]) -> str | None:
        """Say which container did not outlive a run; the runs stay on record, superseded."""
        for _, identity in wanted:
            if task := self._gone.get(identity):
                return f"{identity}: the container of {task} did not outlive its run"
        return None

    def _moved(self, wanted: list[tuple[Order, str]]) -> str | None:
        """Say which deployment Nomad ended or put elsewhere before the block was over."""
        for order, identity in wanted:
            bound = self._bindings[order.key]
            ours = {bound[key] for key in ("allocation", "peer_allocation") if bound[key]}
            try:
                running = self._reach.cluster.running(identity)
            except BlockFailed as error:
                raise NotFetched(f"measured, and not fetched: {error}") from None
            if running != ours and not (identity in self._grown and ours <= running):
                return f"{identity}: its allocation did not outlive the block"
        return None


class _Stages:
    """Seconds of each stage of an attempt."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.stages[name] = round(now - self._last, 3)
        self._last = now
