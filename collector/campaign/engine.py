"""The campaign engine: attempts at one block after the other, until the plan is done.

An attempt that failed is redone whole, never a part of it (``attempt``). Whatever ends the engine,
the runners end themselves when their channel closes, and the next call stops the jobs that this one
left.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from paramiko import SSHException

from collector.campaign.attempt import ATTEMPTS, Attempt
from collector.campaign.cluster import Cluster
from collector.campaign.deployment import SIDECAR, Deployer, lab_variables, orders
from collector.campaign.errors import (
    BlockFailed,
    CampaignError,
    NoRoom,
    NotFetched,
    NotReadyError,
)
from collector.campaign.fetch import failed_runs, fetch_left
from collector.campaign.folder import Campaign
from collector.campaign.guests import Guests
from collector.campaign.mesh import Mesh
from collector.campaign.preflight import read_preflight
from collector.campaign.progress import Events
from collector.campaign.proofs import NAME as PROOFS
from collector.campaign.proofs import Prover, write_proofs
from collector.campaign.reach import Reach
from collector.campaign.remote import Remote, connect, forwarded, push
from collector.campaign.stopping import Precise, due
from collector.plan.inventory import Inventory
from collector.plan.model import Block

LOCK_S: Final = 45.0
AGENT_PORT: Final = 8501
SKEW_S: Final = 2.0
WAKE_S: Final = 180.0
MESH: Final = "mesh"  # in the values of a job's path that lead through sidecars


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
        self._stack = ExitStack()
        self._spent: list[float] = []
        self._guests = Guests(inventory)
        self._reach = Reach(
            campaign, hashlib.sha256((campaign.folder / "plan.json").read_bytes()).hexdigest(),
            inventory, self._cluster, self._deployer, self._guests, read_preflight(state), events,
        )  # fmt: skip
        self._blocks = self.plan.blocks
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
        self._reach.observers.clear()
        self._reach.runners.clear()
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
        topology = {name for block in self._blocks for name in block.ends}
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
            self._reach.observers[name] = self._remote(stack, host, connection, path)
            if name in load:
                self._reach.runners[name] = runner = self._remote(stack, host, connection, path)
                self._lock(runner)
                if brought := fetch_left(self.campaign, runner):
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
        observers = self._reach.observers
        for name in sorted(self._mesh.registered_on() & observers.keys()):
            with forwarded(observers[name].connection, AGENT_PORT) as port:
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
        if not self._reach.runners:  # who fetched the last block died: the jobs may still be there
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
            self._deployer.prepare(wanted, self._reach.place(block))

    def _prove(self) -> None:
        """Try what the mesh promises between hosts, once a campaign that goes through it there."""
        between = self._spanning()
        if not between or (self.campaign.folder / PROOFS).exists():
            return
        self.events.tell("deploy", "proofs: deploying four topologies, then trying seven claims")
        block = between[0]
        observers = {name: self._reach.observers[name] for name in block.hosts}
        place, asking = self._reach.place(block), self._reach.observers[self._asking()]
        prover = Prover(
            self.plan.campaign, place, self._inventory, self._mesh, self._deployer, observers,
            asking, self.events,
        )  # fmt: skip
        write_proofs(self.campaign.folder, self.plan.campaign, prover.prove())

    def _spanning(self) -> list[Block]:
        """Return the blocks whose mesh spans two hosts."""
        return [block for block in self._blocks if block.peer] if self._meshed() else []

    def _meshed(self) -> bool:
        """Whether some arm goes through sidecars: its job has them, and its path says so."""
        return any(
            SIDECAR in (self._root / arm.job).read_text()
            and MESH in str({**arm.variables, **variant}.get("path", MESH))
            for arm in self.plan.arms.values()
            for variant in self.plan.variants.values()
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
                one = Attempt(
                    self._reach, block, attempt, total=self._total, guests_run=self._on_guests()
                )
                problem = one.run(number == ATTEMPTS)
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


def refuse_clock(host: str, ahead_s: float) -> None:
    """Refuse a host whose clock is further from the controller's than ``SKEW_S``."""
    if abs(ahead_s) > SKEW_S:
        raise NotReadyError(
            f"{host}: its clock is {abs(ahead_s):.1f} s "
            f"{'ahead of' if ahead_s > 0 else 'behind'} the controller's: its certificates "
            "and the times of its rows would be wrong. Set it, and let both follow NTP"
        )
