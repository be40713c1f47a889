"""Counters of a host and of its containers, on cgroup v1 (hybrid) and v2.

Everything is read from ``/proc`` and ``/sys/fs/cgroup`` without privilege. What a kernel does not
say is None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from collector.runner import kernel
from collector.runner.cgroup import (
    ACCOUNT,
    BLOCKS,
    NOWHERE,
    is_disk,
    read_cgroup,
    read_cpu,
    read_io,
    read_memory,
    read_processes,
)
from collector.runner.kernel import boot_id, cgroup_version, read_int, read_text
from collector.runner.network import namespace, read_links, read_net

CONNTRACK: Final = Path("sys/net/netfilter/nf_conntrack_count")
SECTOR: Final = 512  # of /proc/diskstats, whatever the device's own
# Where the lab's own daemons live on a machine that is not the lab's alone.
SERVICES: Final = ("nomad", "consul", "docker", "containerd", "docker-registry", "ssh")
OF_HOST: Final = (
    "memory_bytes", "memory_anonymous_bytes", "memory_cache_bytes", "memory_kernel_bytes",
    "read_bytes", "written_bytes",
)  # fmt: skip


def read_cpus(cpus: Iterable[int]) -> dict[str, list[int]]:
    """Return ``/proc/stat``'s first eight ticks of each CPU."""
    wanted = {f"cpu{cpu}": str(cpu) for cpu in cpus}
    ticks = {}
    for line in (read_text(kernel.PROC / "stat") or "").splitlines():
        name, *values = line.split()
        if name in wanted:
            ticks[wanted[name]] = [int(value) for value in values[:8]]
    return ticks


def own_cgroup() -> dict[str, str]:
    """Folders of the root of this cgroup namespace: all of a virtual host, which is a container."""
    if cgroup_version() == 2:
        return {"unified": str(kernel.CGROUP)}
    names = ("cpu", "cpuacct", "memory", "blkio")
    return {controller: str(kernel.CGROUP / controller) for controller in names}


def lab_cpu_ns(kind: str, containers: Mapping[str, Mapping[str, str]]) -> int | None:
    """CPU that the lab has used on this host, in ns.

    All of a virtual host is the lab's. On another machine it is the lab's daemons, its containers,
    and this program.
    """
    if kind == "virtual":
        return read_cpu(own_cgroup())["cpu_ns"]
    key = ACCOUNT[cgroup_version()]
    base = kernel.CGROUP if key == "unified" else kernel.CGROUP / key
    daemons = [{key: str(base / "system.slice" / f"{service}.service")} for service in SERVICES]
    spent = [read_cpu(folders)["cpu_ns"] or 0 for folders in (*daemons, *containers.values())]
    return int(sum(os.times()[:4]) * 1e9) + sum(spent)


def read_host(kind: str) -> dict[str, int | None]:
    """Return what the host as a whole uses: what its containers use is a part of it.

    Memory by kind, as of a cgroup; bytes of its block devices; and ``links_bytes``, through its
    ends of containers' networks. Of a machine with a kernel of its own, an emulated host among
    them, no cgroup says how much it uses.
    """
    memory = read_memory(own_cgroup())
    if kind == "virtual" and memory["memory_bytes"] is not None:
        whole = {**memory, **read_io(own_cgroup())}
    else:
        whole = {**read_meminfo(), **read_disks()}
    return {**{name: whole[name] for name in OF_HOST}, "links_bytes": read_links()}


def read_meminfo() -> dict[str, int | None]:
    """Return the machine's memory by kind, as a cgroup would count it."""
    found = {}
    for line in (read_text(kernel.PROC / "meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * 1024

    def total(*names: str) -> int | None:
        return sum(found[name] for name in names) if found.keys() >= {*names} else None

    everything, free = total("MemTotal"), total("MemFree")
    return {
        "memory_bytes": None if everything is None or free is None else everything - free,
        "memory_anonymous_bytes": total("AnonPages"),
        "memory_cache_bytes": total("Cached", "Buffers"),
        "memory_kernel_bytes": total("Slab", "KernelStack", "PageTables"),
    }


def read_disks() -> dict[str, int | None]:
    """Return the bytes read from and written to all block devices of the machine, each once."""
    read = written = None
    for line in (read_text(kernel.PROC / "diskstats") or "").splitlines():
        major, minor, _, *counts = line.split()
        device = f"{major}:{minor}"
        if len(counts) > 6 and is_disk(device) and not (BLOCKS / device / "partition").exists():
            read = (read or 0) + int(counts[2]) * SECTOR
            written = (written or 0) + int(counts[6]) * SECTOR
    return {"read_bytes": read, "written_bytes": written}


def read_frequencies(cpus: Iterable[int]) -> dict[str, int] | None:
    """Return the current frequency of each CPU in kHz; None where the kernel does not say."""
    base = Path("/sys/devices/system/cpu")
    found = {str(cpu): read_int(base / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus}
    return {cpu: khz for cpu, khz in found.items() if khz is not None} or None


def snapshot(
    kind: str,
    cpus: Iterable[int],
    containers: Mapping[str, Mapping[str, str]],
    measured: Collection[str] = (),
) -> dict[str, Any]:
    """Return every counter of the host (docs/contracts.md, Block file).

    ``containers``: container id to its cgroup's folders. One without a network of its own has no
    counters of any: they are the host's. ``measured``: those whose processes are told.
    """
    cpus, ours = list(cpus), namespace(kernel.PROC / "net")

    def net(folder: Path) -> dict[str, int]:
        return (
            {}
            if (own := namespace(folder)) in (ours, None)
            else {"namespace": own} | read_net(folder)
        )

    return {
        "boot_id": boot_id(),
        "monotonic_ns": time.monotonic_ns(),
        "wall_ns": time.time_ns(),
        "clock_ticks": os.sysconf("SC_CLK_TCK"),
        "cgroup_version": cgroup_version(),
        "cpu": read_cpus(cpus),
        "lab_cpu_ns": lab_cpu_ns(kind, containers),
        "frequency_khz": read_frequencies(cpus),
        "net": read_net(kernel.PROC / "net"),
        "conntrack": read_int(kernel.PROC / CONNTRACK),
        "host": read_host(kind),
        "cgroups": {
            one: {
                **read_cgroup(folders),
                "net": net(Path(folders.get("net", NOWHERE))),
                **({"processes": read_processes(folders)} if one in measured else {}),
            }
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
