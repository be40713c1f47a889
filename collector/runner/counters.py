"""Counters of a host and of its containers, on cgroup v1 (hybrid) and v2.

Everything is read from ``/proc`` and ``/sys/fs/cgroup`` without privilege. What a kernel does not
say is None.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

CGROUP: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")
NOWHERE: Final = "/nonexistent"  # of a container that has ended: every counter is null
NET: Final = (
    "ActiveOpens", "PassiveOpens", "ListenOverflows", "ListenDrops", "TCPTimeouts",
    "TCPBacklogDrop", "RetransSegs",
)  # fmt: skip
BLOCKS: Final = Path("/sys/dev/block")
LOOP: Final = "7:"
THREADS: Final = {1: "tasks", 2: "cgroup.threads"}
SWITCHES: Final = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
CONNTRACK: Final = PROC / "sys/net/netfilter/nf_conntrack_count"
# Where the lab's own daemons live on a machine that is not the lab's alone.
SERVICES: Final = ("nomad", "consul", "docker", "containerd", "docker-registry", "ssh")


def read_text(path: Path) -> str | None:
    """Return the file's text; None if it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return the file's one number; None if there is none."""
    text = read_text(path)
    return int(text) if text is not None and text.strip().isdigit() else None


def read_pairs(path: Path) -> dict[str, int]:
    """Return the file's ``name number`` lines; empty if it is not there."""
    pairs = (line.split() for line in (read_text(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def boot_id() -> str:
    """Id of this boot of the kernel."""
    return (read_text(PROC / "sys/kernel/random/boot_id") or "").strip()


def cgroup_version() -> int:
    """1 for the legacy and hybrid layouts, 2 for the unified one."""
    return 2 if (CGROUP / "cgroup.controllers").exists() else 1


def cgroup_folders(pid: int) -> dict[str, str]:
    """Return a process's cgroup folders by controller.

    On v1 cpu, cpuacct, memory and blkio, on v2 unified; and under ``net`` that of its network
    namespace, whose counters are not the host's.
    """
    folders: dict[str, str] = {"net": str(PROC / str(pid) / "net")}
    for line in (read_text(PROC / str(pid) / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else ["unified"]:
            mount = CGROUP if cgroup_version() == 2 else CGROUP / controller
            if controller in ("cpu", "cpuacct", "memory", "blkio", "unified"):
                folders[controller] = str(mount / path.lstrip("/"))
    return folders


def read_cgroup(folders: Mapping[str, str]) -> dict[str, int | None]:
    """Return CPU, throttling, context switches, memory and block I/O of one cgroup."""
    if cgroup_version() == 2:
        unified = Path(folders.get("unified", NOWHERE))
        cpu, memory = read_pairs(unified / "cpu.stat"), read_pairs(unified / "memory.stat")

        def usec(name: str) -> int | None:
            return cpu[name] * 1000 if name in cpu else None

        return {
            "cpu_ns": usec("usage_usec"),
            "cpu_user_ns": usec("user_usec"),
            "cpu_system_ns": usec("system_usec"),
            "throttled_count": cpu.get("nr_throttled"),
            "throttled_ns": usec("throttled_usec"),
            "context_switches": read_context_switches(unified),
            "memory_bytes": read_int(unified / "memory.current"),
            "memory_peak_bytes": read_int(unified / "memory.peak"),
            "memory_anonymous_bytes": memory.get("anon"),
            "memory_cache_bytes": memory.get("file"),
            "memory_kernel_bytes": memory.get("kernel"),
            "memory_limit_hits": read_pairs(unified / "memory.events").get("max"),
            **read_blocks(unified / "io.stat", r"^(\S+) .*?rbytes=(\d+) wbytes=(\d+)"),
        }
    account = Path(folders.get("cpuacct", NOWHERE))
    limited = Path(folders.get("memory", NOWHERE))
    memory = read_pairs(limited / "memory.stat")
    blocks = Path(folders.get("blkio", NOWHERE)) / "blkio.throttle.io_service_bytes"
    # Often one folder with the accounts, but not where each controller is mounted by itself.
    stat = read_pairs(Path(folders.get("cpu", NOWHERE)) / "cpu.stat")
    return {
        "cpu_ns": read_int(account / "cpuacct.usage"),
        "cpu_user_ns": read_int(account / "cpuacct.usage_user"),
        "cpu_system_ns": read_int(account / "cpuacct.usage_sys"),
        "throttled_count": stat.get("nr_throttled"),
        "throttled_ns": stat.get("throttled_time"),
        "context_switches": read_context_switches(account),
        "memory_bytes": read_int(limited / "memory.usage_in_bytes"),
        "memory_peak_bytes": read_int(limited / "memory.max_usage_in_bytes"),
        "memory_anonymous_bytes": memory.get("total_rss"),
        "memory_cache_bytes": memory.get("total_cache"),
        "memory_kernel_bytes": read_int(limited / "memory.kmem.usage_in_bytes"),
        "memory_limit_hits": read_limit_hits(limited),
        **read_blocks(blocks, r"^(\S+) Read (\d+)\n\1 Write (\d+)"),
    }


def read_limit_hits(folder: Path) -> int | None:
    """Return how often cgroup v1 met a memory limit; None where that is not counted.

    The kernel asks for swap and memory together first, and the engine limits that to as much: then
    it is there that the limit is met.
    """
    both = [read_int(folder / name) for name in ("memory.failcnt", "memory.memsw.failcnt")]
    known = [hits for hits in both if hits is not None]
    return sum(known) if known else None


def read_blocks(path: Path, pattern: str) -> dict[str, int | None]:
    """Return the bytes read and written of a cgroup, by the lines of its devices.

    None where no device has a line: kernels from 6.10 on count nothing by cgroup v1, and say
    ``Total 0``. A device that lies on another one is left out: what goes through it is counted
    below. ``pattern``: device, bytes read, bytes written.
    """
    found = [
        (int(read), int(written))
        for device, read, written in re.findall(pattern, read_text(path) or "", re.MULTILINE)
        if not device.startswith(LOOP) and not any((BLOCKS / device / "slaves").glob("*"))
    ]
    read, written = (sum(part) for part in zip(*found, strict=True)) if found else (None, None)
    return {"read_bytes": read, "written_bytes": written}


def read_cpus(cpus: Iterable[int]) -> dict[str, list[int]]:
    """Return ``/proc/stat``'s first eight ticks of each CPU."""
    wanted = {f"cpu{cpu}": str(cpu) for cpu in cpus}
    ticks = {}
    for line in (read_text(PROC / "stat") or "").splitlines():
        name, *values = line.split()
        if name in wanted:
            ticks[wanted[name]] = [int(value) for value in values[:8]]
    return ticks


def lab_cpu_ns(kind: str, containers: Mapping[str, Mapping[str, str]]) -> int | None:
    """CPU that the lab has used on this host, in ns.

    A virtual host is a container, so the root of its own cgroup namespace is all the lab's. On
    another machine it is the lab's daemons, its containers, and this program.
    """
    version = cgroup_version()
    if kind == "virtual" and version == 1:
        return read_int(CGROUP / "cpuacct" / "cpuacct.usage")
    if kind == "virtual":
        stat = read_pairs(CGROUP / "cpu.stat")
        return stat["usage_usec"] * 1000 if "usage_usec" in stat else None
    base = CGROUP if version == 2 else CGROUP / "cpuacct"
    key = "unified" if version == 2 else "cpuacct"
    total = sum(os.times()[:4]) * 1e9
    for service in SERVICES:
        folder = str(base / "system.slice" / f"{service}.service")
        folders = {key: folder, "memory": folder}
        total += read_cgroup(folders)["cpu_ns"] or 0
    total += sum(read_cgroup(folders)["cpu_ns"] or 0 for folders in containers.values())
    return int(total)


def read_devices(folder: Path) -> dict[str, tuple[int, int]]:
    """Return bytes received and sent of each device of a network namespace."""
    found = {}
    for line in (read_text(folder / "dev") or "").splitlines():
        name, colon, counts = line.partition(":")
        fields = counts.split()
        if colon and len(fields) > 8:
            found[name.strip()] = int(fields[0]), int(fields[8])
    return found


def _namespace(folder: Path) -> int | None:
    """What tells a network namespace from others: its files are its own; None if it is gone."""
    try:
        return (folder / "dev").stat().st_ino
    except OSError:
        return None


def read_net(folder: Path = PROC / "net") -> dict[str, int]:
    """Return what a network namespace counts.

    The counters of ``NET`` from ``snmp`` and ``netstat``, and the bytes of its devices: those of
    its loopback, and those that came in and went out by any other.
    """
    found: dict[str, int] = {}
    if devices := read_devices(folder):
        _, found["loopback_bytes"] = devices.pop("lo", (0, 0))
        found["received_bytes"] = sum(received for received, _ in devices.values())
        found["sent_bytes"] = sum(sent for _, sent in devices.values())
    for name in ("snmp", "netstat"):
        lines = (read_text(folder / name) or "").splitlines()
        for keys, values in zip(lines[::2], lines[1::2], strict=False):
            pairs = zip(keys.split()[1:], values.split()[1:], strict=False)
            found.update((key, int(value)) for key, value in pairs if key in NET)
    return found


def read_context_switches(folder: Path) -> int | None:
    """Return how often the threads of a cgroup left a CPU, asked or not; None if none is there."""
    switches = None
    for thread in (read_text(folder / THREADS[cgroup_version()]) or "").split():
        for line in (read_text(PROC / thread / "status") or "").splitlines():
            name, _, number = line.partition(":")
            if name in SWITCHES and number.strip().isdigit():
                switches = (switches or 0) + int(number)
    return switches


def read_frequencies(cpus: Iterable[int]) -> dict[str, int] | None:
    """Return the current frequency of each CPU in kHz; None where the kernel does not say."""
    base = Path("/sys/devices/system/cpu")
    found = {str(cpu): read_int(base / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus}
    return {cpu: khz for cpu, khz in found.items() if khz is not None} or None


def snapshot(
    kind: str, cpus: Iterable[int], containers: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return every counter of the host (docs/contracts.md, Block file).

    ``containers``: container id to its cgroup's folders. One without a network of its own has no
    counters of any: they are the host's.
    """
    cpus, ours = list(cpus), _namespace(PROC / "net")

    def net(folder: Path) -> dict[str, int]:
        return {} if _namespace(folder) == ours else read_net(folder)

    return {
        "boot_id": boot_id(),
        "monotonic_ns": time.monotonic_ns(),
        "wall_ns": time.time_ns(),
        "clock_ticks": os.sysconf("SC_CLK_TCK"),
        "cgroup_version": cgroup_version(),
        "cpu": read_cpus(cpus),
        "lab_cpu_ns": lab_cpu_ns(kind, containers),
        "frequency_khz": read_frequencies(cpus),
        "net": read_net(),
        "conntrack": read_int(CONNTRACK),
        "cgroups": {
            one: {**read_cgroup(folders), "net": net(Path(folders.get("net", NOWHERE)))}
            for one, folders in containers.items()
        },
    }


def foreign_cpu_share(
    kind: str, cpus: list[int], containers: Mapping[str, Mapping[str, str]], seconds: float
) -> float | None:
    """Share of the host's CPUs that something outside the lab used over the next ``seconds``."""
    first = snapshot(kind, cpus, containers)
    time.sleep(seconds)
    last = snapshot(kind, cpus, containers)
    if first["lab_cpu_ns"] is None or last["lab_cpu_ns"] is None:
        return None
    busy = 0
    for cpu, ticks in last["cpu"].items():
        deltas = [after - before for after, before in zip(ticks, first["cpu"][cpu], strict=True)]
        busy += sum(deltas) - deltas[3] - deltas[4] - deltas[7]
    elapsed = (last["monotonic_ns"] - first["monotonic_ns"]) / 1e9
    lab = (last["lab_cpu_ns"] - first["lab_cpu_ns"]) / 1e9
    return float(max(0.0, (busy / last["clock_ticks"] - lab) / (elapsed * len(cpus))))
