"""Nomad, as the engine uses it: jobs from files, their allocations, their end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import nomad
import stamina
from nomad.api.exceptions import (
    BadRequestNomadException,
    BaseNomadException,
    URLNotAuthorizedNomadException,
    URLNotFoundNomadException,
)

from collector.campaign.errors import BlockFailed, NoRoom, NotReadyError, UsageError
from collector.campaign.placement import Placement, pinned, placements

# What is retried is told when patience ends, not line by line.
stamina.instrumentation.set_on_retry_hooks([])

PREFIX: Final = "sl-"
POLL_S: Final = 0.25
PLACE_S: Final = 90.0
ROOM_S: Final = 15.0  # in which what has ended gives its resources back
STOP_S: Final = 45.0
PATIENCE_S: Final = 30.0
LAST_LINES: Final = 12
LINES_S: Final = 3.0  # until a failed task that wrote nothing is believed to have written nothing


def read_environment(state: Path) -> dict[str, str]:
    """Read ``lab.env``; raises ``NotReadyError`` if the cluster stage has not written it."""
    try:
        lines = (state / "lab.env").read_text().splitlines()
    except OSError:
        raise NotReadyError(
            f"{state / 'lab.env'} is missing: the lab is not up. Start it: make lab"
        ) from None
    return dict(line.split("=", 1) for line in lines if "=" in line)


class Cluster:
    """Nomad's API and binary, with the engine's token, TLS verified."""

    def __init__(self, state: Path) -> None:
        self._environment = read_environment(state)
        self._binary = state / "bin" / "nomad"
        # The address whole: with host and port the library lets NOMAD_ADDR, which may be another
        # cluster's, have its way.
        self._api = nomad.Nomad(
            address=self._environment["NOMAD_ADDR"],
            namespace="default",
            token=self._environment["NOMAD_TOKEN"],
            verify=self._environment["NOMAD_CACERT"],
            timeout=30,
        )

    def check(self, nodes: Mapping[str, str]) -> None:
        """Refuse to start unless every node is ready; ``nodes``: host name to what it is for."""
        known = self.nodes()
        for name, purpose in nodes.items():
            status = known.get(name, "not registered")
            if status != "ready":
                raise NotReadyError(f"Nomad node {name} ({purpose}) is {status}, not ready")

    def render(self, job: Path, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a job file and its variables into the job that the API takes.

        ``UsageError`` has Nomad's own words: which variable is missing or wrong.
        """
        # By the environment: everybody may read the arguments of a process, and one may be a key.
        given = {
            f"NOMAD_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in variables.items()
        }
        done = subprocess.run(
            [str(self._binary), "job", "run", "-output", str(job)],
            env={**os.environ, **self._environment, **given},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise UsageError(f"{job}: {done.stderr.strip() or done.stdout.strip()}")
        rendered: dict[str, Any] = json.loads(done.stdout)["Job"]
        return rendered

    def register(self, identity: str, job: Mapping[str, Any]) -> None:
        """Run the job under a name of its own."""
        body = {"Job": {**job, "ID": identity, "Name": identity}}
        try:
            self._api.job.register_job(identity, body)
        except BaseNomadException as error:
            raise UsageError(f"{identity}: Nomad refuses the job: {_words(error)}") from None

    def scale(self, identity: str, group: str, count: int) -> None:
        """Ask for so many allocations of a group, as ``nomad job scale`` does."""
        body = {"Count": count, "Target": {"Job": identity, "Group": group}}
        try:
            self._api.job.request(identity, "scale", json=body, method="post")
        except BaseNomadException as error:
            raise BlockFailed(f"{identity}: not scaled: {_words(error)}") from None

    def wait_running(
        self, identity: str, groups: Sequence[str], patience: float = 1.0
    ) -> dict[str, dict[str, Any]]:
        """Wait until the allocation of every group runs; return them by group.

        ``BlockFailed`` has the failing task's last lines; ``NoRoom`` says which resource is
        exhausted, or which task was killed at its memory limit. ``patience`` is for slow starts,
        and Nomad knows at once where there is no room. A host that is not there may come back;
        resources that are taken do not.
        """
        began = time.monotonic()
        looks = [(ROOM_S, True), (PLACE_S, False)]
        deadline = began + PLACE_S * patience
        running: dict[str, str] = {}
        status = dict.fromkeys(groups, "not placed")
        while time.monotonic() < deadline:
            for summary in self._allocations(identity):
                if why := self._why_failed(summary):
                    kind = NoRoom if _starved(summary) else BlockFailed
                    raise kind(f"{identity}: {why}")
                group, status[group] = summary["TaskGroup"], summary["ClientStatus"]
                tasks = (summary["TaskStates"] or {}).values()
                up = all(task["State"] == "running" for task in tasks)
                if status[group] == "running" and up:
                    running[group] = summary["ID"]
            if len(running) == len(groups):
                return {
                    group: dict(_patiently(self._api.allocation.get_allocation, running[group]))
                    for group in groups
                }
            if looks and time.monotonic() > began + looks[0][0]:
                after_s, exhausted = looks.pop(0)
                waits = "not placed" in status.values()
                if no_room := self.why_not_placed(identity, exhausted) if waits else "":
                    kind = NoRoom if exhausted else BlockFailed
                    raise kind(f"{identity}: not placed after {after_s:.0f} s. {no_room}")
            time.sleep(POLL_S)
        why = self.why_not_placed(identity)
        late = ", ".join(f"{group} {status[group]}" for group in groups if group not in running)
        raise BlockFailed(f"{identity}: {late} after {PLACE_S * patience:.0f} s. {why}")

    def why_not_placed(self, identity: str, exhausted: bool = False) -> str:
        """Return what Nomad lacks for a job's groups; empty where it lacks nothing.

        ``exhausted``: of resources alone, not of hosts.
        """
        reasons = []
        for evaluation in _patiently(self._api.job.get_evaluations, identity):
            for group, metrics in (evaluation.get("FailedTGAllocs") or {}).items():
                if exhausted and not metrics.get("DimensionExhausted"):
                    continue
                reasons.append(
                    f"group {group}: exhausted {metrics.get('DimensionExhausted')}, "
                    f"filtered {metrics.get('ConstraintFiltered')}"
                )
        return " ".join(dict.fromkeys(reasons))

    def failure(self, identity: str) -> str:
        """Return why an allocation of the job failed; empty where none has."""
        return next(filter(None, map(self._why_failed, self._allocations(identity))), "")

    def _why_failed(self, allocation: Mapping[str, Any]) -> str:
        states = allocation["TaskStates"] or {}
        failed = [name for name, task in states.items() if task["Failed"]]
        if not failed and allocation["ClientStatus"] not in ("failed", "lost"):
            return ""
        words = []
        for task in failed or states:
            events = [event["DisplayMessage"] for event in states[task]["Events"]]
            words.append(f"task {task} failed: {'; '.join(events[-4:])}")
            words += self._lines_soon(allocation["ID"], task)
        return "\n  ".join(words) or f"its allocation is {allocation['ClientStatus']}"

    def _lines_soon(self, allocation: str, task: str) -> list[str]:
        """Return a failed task's last lines; Nomad may still be about to write them."""
        until = time.monotonic() + LINES_S
        while True:
            lines = [
                line
                for stream in ("stderr", "stdout")
                for line in self.last_lines(allocation, task, stream)
            ]
            if lines or time.monotonic() > until:
                return lines
            time.sleep(POLL_S)

    def last_lines(self, allocation: str, task: str, stream: str) -> list[str]:
        """Return the last lines that a task wrote; empty where there are none."""
        try:
            text = self._api.client.stream_logs.stream(
                allocation, task, stream, offset=4000, origin="end", plain=True
            )
        except (BaseNomadException, OSError, ValueError):
            return []
        return [f"{stream}: {line}" for line in str(text).splitlines()[-LAST_LINES:]]

    def running(self, identity: str) -> set[str]:
        """Return the ids of the job's running allocations."""
        return {
            one["ID"] for one in self._allocations(identity) if one["ClientStatus"] == "running"
        }

    def running_jobs(self) -> dict[str, str]:
        """Return the running allocations of every job: allocation to job."""
        listed = _patiently(self._api.allocations.get_allocations)
        return {one["ID"]: one["JobID"] for one in listed if one["ClientStatus"] == "running"}

    def read_facts(self, allocation: str, path: str) -> dict[str, Any]:
        """Return a JSON object that a task wrote in its allocation; empty while there is none."""
        try:
            read = json.loads(self._api.client.cat.read_file(allocation, path))
        except (BaseNomadException, json.JSONDecodeError):
            # A server that loses the client while it forwards the file tells it in the body of an
            # answer whose status says that all is well.
            return {}
        return read if isinstance(read, dict) else {}

    def nodes(self) -> dict[str, str]:
        """Return the status of every registered node, by name."""
        try:
            return {node["Name"]: node["Status"] for node in self._hosts()}
        except BlockFailed as error:
            raise NotReadyError(f"{error} (make status)") from None

    def _hosts(self) -> list[dict[str, Any]]:
        """Return each host's node: of one that was made anew, the last; Nomad keeps the others."""
        listed = _patiently(self._api.nodes.get_nodes)
        ordered = sorted(listed, key=lambda node: int(node["CreateIndex"]))
        return list({node["Name"]: node for node in ordered}.values())

    def system_placements(self) -> list[Placement]:
        """Say of every system job on which hosts it runs, on which not, and why not."""
        found = []
        nodes = self._hosts()
        for stub in _patiently(self._api.jobs.get_jobs):
            if stub["Type"] == "system" and not stub["Stop"]:
                dry_run = partial(self._dry_run, stub["ID"])
                found += placements(stub, nodes, self._allocations(stub["ID"]), dry_run)
        return found

    def job(self, identity: str) -> dict[str, Any] | None:
        """Return a job as Nomad has it, None where it has none of that name."""
        try:
            return dict(_patiently(self._api.job.get_job, identity))
        except URLNotFoundNomadException:
            return None
        except BlockFailed as error:
            raise NotReadyError(f"{error} (make status)") from None

    def _dry_run(self, identity: str, node: str) -> dict[str, Any]:
        """Ask what Nomad would do with the job on this node alone; nothing comes of it."""
        job = pinned(_patiently(self._api.job.get_job, identity), node)
        asked = {"Job": job, "Diff": False, "PolicyOverride": False}
        return dict(_patiently(self._api.job.plan_job, identity, asked))

    def job_lines(self, identity: str) -> list[str]:
        """Return the last lines of every task of a job's allocations."""
        lines = []
        for allocation in self._allocations(identity):
            for task in allocation["TaskStates"] or {}:
                lines.append(f"== {identity} {task}")
                for stream in ("stdout", "stderr"):
                    lines += self.last_lines(allocation["ID"], task, stream)
        return lines

    def ours(self) -> list[str]:
        """Return the ids of all jobs that an engine has left or runs."""
        return [job["ID"] for job in _patiently(self._api.jobs.get_jobs, prefix=PREFIX)]

    def stop(self, identities: list[str]) -> list[str]:
        """Stop the jobs, wait until nothing of them runs, then forget them.

        Returns what went wrong, one text a job: cleaning up goes on over errors. A job of which
        something still runs is not forgotten, for that would hide it from the next call.
        """
        problems = []
        # All at once, then one after the other: they end side by side.
        for step in (self._deregister, self._wait_stopped):
            for identity in identities:
                try:
                    step(identity)
                except BlockFailed as error:
                    problems.append(f"{identity}: {error}")
        return problems

    def _deregister(self, identity: str) -> None:
        with suppress(URLNotFoundNomadException):
            _patiently(self._api.job.deregister_job, identity)

    def _wait_stopped(self, identity: str) -> None:
        with suppress(URLNotFoundNomadException):
            deadline = time.monotonic() + STOP_S
            while statuses := [
                f"{one['ID'][:8]} is {one['ClientStatus']} on {one['NodeName']}"
                for one in self._allocations(identity)
                if one["ClientStatus"] in ("pending", "running", "unknown")
            ]:
                if time.monotonic() > deadline:
                    raise BlockFailed(f"not stopped after {STOP_S:.0f} s: {'; '.join(statuses)}")
                time.sleep(POLL_S)
            _patiently(self._api.job.deregister_job, identity, purge=True)

    def _allocations(self, identity: str) -> list[dict[str, Any]]:
        return list(_patiently(self._api.job.get_allocations, identity))


def _starved(allocation: Mapping[str, Any]) -> bool:
    """Whether the kernel killed a task of an allocation at its memory limit."""
    states = (allocation["TaskStates"] or {}).values()
    events = [event for task in states for event in task["Events"]]
    return any((event.get("Details") or {}).get("oom_killed") == "true" for event in events)


def _passes(error: Exception) -> bool:
    """Whether asking again may help: Nomad was gone or had no leader."""
    final = (URLNotFoundNomadException, URLNotAuthorizedNomadException, BadRequestNomadException)
    return isinstance(error, (BaseNomadException, OSError)) and not isinstance(error, final)


def _patiently(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Ask Nomad; again for a while if it does not answer, then ``BlockFailed``."""
    try:
        for attempt in stamina.retry_context(on=_passes, timeout=PATIENCE_S, attempts=None):
            with attempt:
                return function(*arguments, **options)
    except URLNotFoundNomadException:
        raise
    except (BaseNomadException, OSError) as error:
        raise BlockFailed(f"Nomad does not answer: {_words(error)}") from None


def _words(error: Exception) -> str:
    response = getattr(error, "nomad_resp", None)
    return str(getattr(response, "text", error)).strip()
