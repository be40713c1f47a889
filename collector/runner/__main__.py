"""The program on a host: reads requests, answers each with one line; events come between.

Requests (``do``): hello, containers, images, rules, snapshot, called, foreign, probe, prove, trace,
traced, tool, lock, block, held, forget.
An answer is ``{"event": "answer", ...}`` or ``{"event": "failed", "reason": ..., "full": ...}``;
``full`` says that a disk is.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from collector.runner import block, counters, facts, kernel, probe
from collector.runner.cgroup import cgroup_folders, started
from collector.runner.link import Lapsed, Link, said_by
from collector.runner.network import read_net

LIST_CONTAINERS: Final = ("sudo", "-n", "/usr/local/lib/socklab/list-containers")
LIST_IMAGES: Final = ("sudo", "-n", "/usr/local/lib/socklab/list-images")
LIST_RULES: Final = ("sudo", "-n", "/usr/local/lib/socklab/list-rules")
PROVE: Final = ("sudo", "-n", "/usr/local/lib/socklab/prove")
TRACED_S: Final = 15.0
Answer = dict[str, Any]


class Host:
    """What the program knows of its host: set by ``hello`` and ``containers``."""

    def __init__(self, link: Link, home: Path) -> None:
        self.link = link
        self.home = home
        self.kind = "virtual"
        self.cpus: list[int] = []
        self.folders: dict[str, dict[str, str]] = {}
        self._firsts: dict[str, tuple[int, str | None]] = {}
        self._networks: dict[str, Path] = {}
        self._tracer: subprocess.Popen[str] | None = None
        self._lock: int | None = None

    def hello(self, order: Mapping[str, Any]) -> Answer:
        """Take kind and CPUs; stay on those CPUs; say who this is."""
        self.kind = order["kind"]
        allowed = os.sched_getaffinity(0)
        self.cpus = sorted(allowed & set(order["cpus"]))
        if not self.cpus:
            raise ValueError(f"lab_cpus {order['cpus']}: this host may use {sorted(allowed)}")
        os.sched_setaffinity(0, self.cpus)
        program = Path(sys.argv[0])
        return {
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
            "boot_id": kernel.boot_id(),
            "cpus": self.cpus,
            "environment": facts.environment(self.cpus),
            "wall_ns": time.time_ns(),  # last: looking around takes a while on a slow host
        }

    def containers(self, order: Mapping[str, Any]) -> Answer:
        """List the containers of the given allocations; remember their cgroups and processes."""
        wanted = set(order["allocations"])
        found = [one for one in _list_containers() if one["allocation"] in wanted]
        self.folders = {one["id"]: cgroup_folders(one["pid"]) for one in found}
        self._firsts = {one["id"]: (one["pid"], started(one["pid"])) for one in found}
        for one in found:
            one["cpus"] = _allowed_cpus(one["pid"])
        return {"containers": found}

    def images(self, order: Mapping[str, Any]) -> Answer:
        """Describe the images that containers of allocations run, by their ids."""
        listed = said_by(LIST_IMAGES)
        if listed.returncode != 0:
            raise RuntimeError(f"list-images: {listed.stderr.strip()}")
        return {"images": json.loads(listed.stdout)}

    def rules(self, order: Mapping[str, Any]) -> Answer:
        """Count iptables' rules for IPv4, by table; null where it is not installed."""
        listed = said_by(LIST_RULES)
        if listed.returncode != 0:
            raise RuntimeError(
                f"list-rules: {listed.stderr.strip()}; a lab of an earlier release gets it by its "
                "cluster stage (ansible-playbook lab.yml --tags cluster)"
            )
        return {"rules": json.loads(listed.stdout)}

    def snapshot(self, order: Mapping[str, Any]) -> Answer:
        """Read every counter; of the given containers, what their processes use.

        ``running``: the containers whose first process is still the one that it was. The engine
        would say so too, but takes longer to ask than all else of a run.
        """
        seen = counters.snapshot(self.kind, self.cpus, self.folders, order.get("processes_of", ()))
        firsts = self._firsts.items()
        alive = [one for one, (pid, began) in firsts if began and started(pid) == began]
        return {"snapshot": seen, "running": alive}

    def called(self, order: Mapping[str, Any]) -> Answer:
        """Say which of the given allocations' networks have ever accepted a TCP connection."""
        if not set(order["allocations"]) <= self._networks.keys():
            for one in _list_containers():  # tasks of one allocation share its network
                self._networks[one["allocation"]] = kernel.PROC / str(one["pid"]) / "net"
        return {
            "called": [
                one
                for one in order["allocations"]
                if one in self._networks and read_net(self._networks[one]).get("PassiveOpens")
            ]
        }

    def foreign(self, order: Mapping[str, Any]) -> Answer:
        """Measure what else uses this host's CPUs."""
        share = counters.foreign_cpu_share(self.kind, self.cpus, self.folders, order["seconds"])
        return {"foreign_cpu_share": share}

    def probe(self, order: Mapping[str, Any]) -> Answer:
        """Wait for the right answer of a deployment: to a URL, or from within a container."""
        if "container" in order:
            return probe.probe_inside(self.link, order["container"], order["limit_s"])
        return probe.probe(self.link, order["url"], order.get("services"), order["limit_s"])

    def prove(self, order: Mapping[str, Any]) -> Answer:
        """Look at a container or at the wire, as only root can (roles/runner)."""
        done = said_by([*PROVE, *order["arguments"]])
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return {"seen": json.loads(done.stdout)}

    def trace(self, order: Mapping[str, Any]) -> Answer:
        """Begin to count the system calls in containers of this host, as only root can."""
        self._tracer = subprocess.Popen(
            [*PROVE, "calls", *order["containers"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._tracer.stdout is not None  # noqa: S101 (told to mypy)
        if self._tracer.stdout.readline() != "attached\n":
            raise RuntimeError(self._tracer.communicate()[1].strip())
        return {}

    def traced(self, order: Mapping[str, Any]) -> Answer:
        """End it, and say what was counted: container to system call to number."""
        if self._tracer is None:
            raise RuntimeError("nothing is traced")
        told, complaint = self._tracer.communicate(timeout=TRACED_S)
        self._tracer = None
        if not told:
            raise RuntimeError(complaint.strip())
        return {"calls": json.loads(told)}

    def tool(self, order: Mapping[str, Any]) -> Answer:
        """Describe an installed load tool."""
        return {"tool": facts.describe_tool(order["name"])}

    def lock(self, order: Mapping[str, Any]) -> Answer:
        """Take the load host's lock; ``{"held_by": None}``, or who holds it."""
        if self._lock is None:
            self._lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"held_by": os.pread(self._lock, 4096, 0).decode("utf-8", "replace") or "?"}
        holder = {"pid": os.getpid(), "boot_id": kernel.boot_id(), "campaign": order["campaign"]}
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps(holder).encode(), 0)
        return {"held_by": None}

    def block(self, order: Mapping[str, Any]) -> Answer:
        """Execute a block; its lock must be held."""
        if self._lock is None:
            raise RuntimeError("a block needs the load host's lock first")
        folder = self.home / "blocks" / order["header"]["campaign"]
        folder.mkdir(parents=True, exist_ok=True)
        sealed = block.execute(self.link, order, folder, self.home / "lib")
        blobs = [one.name for one in sorted(folder.glob(f"{order['name']}.*.blob"))]
        return {"sealed": sealed, "blobs": blobs}

    def held(self, order: Mapping[str, Any]) -> Answer:
        """List the sealed blocks of a campaign that are still here, each with its blobs."""
        folder = self.home / "blocks" / order["campaign"]
        names = sorted(one.stem for one in folder.glob("*.jsonl"))
        blobs = sorted(one.name for one in folder.glob("*.blob"))
        return {
            "held": {name: [one for one in blobs if one.startswith(f"{name}.")] for name in names}
        }

    def forget(self, order: Mapping[str, Any]) -> Answer:
        """Remove the files of a block that the controller has fetched and checked."""
        folder = self.home / "blocks" / order["campaign"]
        for one in folder.glob(f"{order['name']}.*"):
            one.unlink()
        return {}


def _list_containers() -> list[dict[str, Any]]:
    listed = said_by(LIST_CONTAINERS)
    if listed.returncode != 0:
        raise RuntimeError(f"list-containers: {listed.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(listed.stdout)
    return found


def _allowed_cpus(pid: int) -> list[int] | None:
    for line in (kernel.read_text(kernel.PROC / str(pid) / "status") or "").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            cpus: list[int] = []
            for part in line.split()[1].split(","):
                first, _, last = part.partition("-")
                cpus += range(int(first), int(last or first) + 1)
            return cpus
    return None


def unpack_library(home: Path) -> None:
    """Put the tools' own files (the Lua script) beside the program, where tools can read them."""
    library = home / "lib"
    library.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(sys.argv[0]) as program:
        for name in program.namelist():
            if name.startswith("lib/") and not name.endswith("/"):
                (library / Path(name).name).write_bytes(program.read(name))


def serve(link: Link, host: Host) -> None:
    """Answer requests until the controller goes."""
    actions: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
        name: getattr(host, name)
        for name in (
            "hello", "containers", "images", "rules", "snapshot", "called", "foreign", "probe",
            "prove", "trace", "traced", "tool", "lock", "block", "held", "forget",
        )
    }  # fmt: skip
    while True:
        order = link.receive()
        try:
            answer = {"event": "answer", **actions[order["do"]](order)}
        except Lapsed:
            raise
        except Exception as error:  # the controller decides what it means
            answer = {
                "event": "failed",
                "reason": f"{type(error).__name__}: {error}",
                "full": getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT),
            }
        link.send(answer)


def main() -> int:
    """Serve on the standard streams; exit 0 when the controller leaves, 3 when it lapses."""
    home = Path.home() / ".socklab"
    home.mkdir(mode=0o700, exist_ok=True)
    unpack_library(home)
    link = Link()
    try:
        serve(link, Host(link, home))
    except Lapsed as reason:
        print(reason, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
