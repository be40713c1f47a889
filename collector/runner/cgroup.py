"""What a container's cgroup, and its processes, have used: CPU, memory, block I/O.

Everything is read without privilege. What a kernel does not say is None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from collector.runner import kernel
from collector.runner.kernel import cgroup_version, read_int, read_pairs, read_text

NOWHERE: Final = "/nonexistent"  # of a container that has ended: every counter is null
BLOCKS: Final = Path("/sys/dev/block")
LOOP: Final = "7:"
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
DEAD: Final = ("Z", "X")
USER, SYSTEM, STARTED = 11, 12, 19  # utime, stime, starttime: the 14th, 15th and 22nd of stat
ACCOUNT: Final = {1: "cpuacct", 2: "unified"}
THREADS: Final = {1: "tasks", 2: "cgroup.threads"}
SWITCHES: Final = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


def cgroup_folders(pid: int) -> dict[str, str]:
    """Return a process's cgroup folders by controller.

    On v1 cpu, cpuacct, memory and blkio, on v2 unified; and under ``net`` that of its network
    namespace, whose counters are not the host's.
    """
    folders: dict[str, str] = {"net": str(kernel.PROC / str(pid) / "net")}
    for line in (read_text(kernel.PROC / str(pid) / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else ["unified"]:
            mount = kernel.CGROUP if cgroup_version() == 2 else kernel.CGROUP / controller
            if controller in ("cpu", "cpuacct", "memory", "blkio", "unified"):
                folders[controller] = str(mount / path.lstrip("/"))
    return folders


def read_cgroup(folders: Mapping[str, str]) -> dict[str, int | None]:
    """Return CPU, throttling, context switches, memory and block I/O of one cgroup."""
    return {
        **read_cpu(folders),
        "context_switches": read_context_switches(folders),
        **read_memory(folders),
        **read_io(folders),
    }


def read_cpu(folders: Mapping[str, str]) -> dict[str, int | None]:
    """Return the CPU that a cgroup has used, and for how long it was kept from any."""
    if cgroup_version() == 2:
        cpu = read_pairs(Path(folders.get("unified", NOWHERE)) / "cpu.stat")

        def usec(name: str) -> int | None:
            return cpu[name] * 1000 if name in cpu else None

        return {
            "cpu_ns": usec("usage_usec"),
            "cpu_user_ns": usec("user_usec"),
            "cpu_system_ns": usec("system_usec"),
            "throttled_count": cpu.get("nr_throttled"),
            "throttled_ns": usec("throttled_usec"),
        }
    account = Path(folders.get("cpuacct", NOWHERE))
    # Often one folder with the accounts, but not where each controller is mounted by itself.
    stat = read_pairs(Path(folders.get("cpu", NOWHERE)) / "cpu.stat")
    return {
        "cpu_ns": read_int(account / "cpuacct.usage"),
        "cpu_user_ns": read_int(account / "cpuacct.usage_user"),
        "cpu_system_ns": read_int(account / "cpuacct.usage_sys"),
        "throttled_count": stat.get("nr_throttled"),
        "throttled_ns": stat.get("throttled_time"),
    }


def read_memory(folders: Mapping[str, str]) -> dict[str, int | None]:
    """Return the memory of a cgroup and of all below it, by kind, and what its limit did."""
    if cgroup_version() == 2:
        unified = Path(folders.get("unified", NOWHERE))
        memory = read_pairs(unified / "memory.stat")
        return {
            "memory_bytes": read_int(unified / "memory.current"),
            "memory_peak_bytes": read_int(unified / "memory.peak"),
            "memory_anonymous_bytes": memory.get("anon"),
            "memory_cache_bytes": memory.get("file"),
            "memory_kernel_bytes": memory.get("kernel"),
            "memory_limit_hits": read_pairs(unified / "memory.events").get("max"),
        }
    limited = Path(folders.get("memory", NOWHERE))
    memory = read_pairs(limited / "memory.stat")
    return {
        "memory_bytes": read_int(limited / "memory.usage_in_bytes"),
        "memory_peak_bytes": read_int(limited / "memory.max_usage_in_bytes"),
        "memory_anonymous_bytes": memory.get("total_rss"),
        "memory_cache_bytes": memory.get("total_cache"),
        "memory_kernel_bytes": read_int(limited / "memory.kmem.usage_in_bytes"),
        "memory_limit_hits": read_limit_hits(limited),
    }


def read_io(folders: Mapping[str, str]) -> dict[str, int | None]:
    """Return what a cgroup and all below it have read from block devices, and written to them."""
    if cgroup_version() == 2:
        path = Path(folders.get("unified", NOWHERE)) / "io.stat"
        return read_blocks(path, r"^(\S+) .*?rbytes=(\d+) wbytes=(\d+)")
    path = Path(folders.get("blkio", NOWHERE)) / "blkio.throttle.io_service_bytes_recursive"
    return read_blocks(path, r"^(\S+) Read (\d+)\n\1 Write (\d+)")


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
    ``Total 0``. ``pattern``: device, bytes read, bytes written.
    """
    found = [
        (int(read), int(written))
        for device, read, written in re.findall(pattern, read_text(path) or "", re.MULTILINE)
        if is_disk(device)
    ]
    read, written = (sum(part) for part in zip(*found, strict=True)) if found else (None, None)
    return {"read_bytes": read, "written_bytes": written}


def is_disk(device: str) -> bool:
    """Tell whether a device, ``major:minor``, lies on no other one, where its bytes count again."""
    return not device.startswith(LOOP) and not any((BLOCKS / device / "slaves").glob("*"))


def read_stat(pid: int | str) -> tuple[str, list[str]] | None:
    """Return a process's name and the fields of its ``stat`` from the third on; None if it ended.

    proc_pid_stat(5): the name may hold anything, brackets too.
    """
    named, _, rest = (read_text(kernel.PROC / str(pid) / "stat") or "").rpartition(")")
    return (named.partition("(")[2], rest.split()) if rest else None


def started(pid: int | str) -> str | None:
    """When a process started, in ticks: a pid is given again, the two are not. None: it ended.

    A dead one is listed until its parent has asked for its end, which may be a moment later.
    """
    found = read_stat(pid)
    return found[1][STARTED] if found and found[1][0] not in DEAD else None


def read_processes(folders: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the processes of a cgroup, by pid and start.

    Each has its ``name``, which it may choose; ``cpu_ns``, in ticks of the kernel's clock; and
    ``memory_anonymous_bytes``. One that has ended is none of them.
    """
    folder, found = Path(folders.get(ACCOUNT[cgroup_version()], NOWHERE)), {}
    for pid in (read_text(folder / "cgroup.procs") or "").split():
        stat, statm = read_stat(pid), read_text(kernel.PROC / pid / "statm")
        if stat is None or not statm:
            continue
        name, fields = stat
        resident, shared = (int(pages) for pages in statm.split()[1:3])
        found[f"{pid}.{fields[STARTED]}"] = {
            "name": name,
            "cpu_ns": (int(fields[USER]) + int(fields[SYSTEM])) * 10**9 // TICKS,
            "memory_anonymous_bytes": (resident - shared) * PAGE,
        }
    return found


def read_context_switches(folders: Mapping[str, str]) -> int | None:
    """Return how often the threads of a cgroup left a CPU, asked or not; None if none is there."""
    folder, switches = Path(folders.get(ACCOUNT[cgroup_version()], NOWHERE)), None
    for thread in (read_text(folder / THREADS[cgroup_version()]) or "").split():
        for line in (read_text(kernel.PROC / thread / "status") or "").splitlines():
            name, _, number = line.partition(":")
            if name in SWITCHES and number.strip().isdigit():
                switches = (switches or 0) + int(number)
    return switches
