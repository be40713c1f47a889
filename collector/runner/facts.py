"""What a host is: read once a block, kept in the block file's header."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Final

from collector.runner.kernel import PROC, cgroup_version, read_text
from collector.runner.link import said_by

NETWORKS: Final = Path("/sys/class/net")
VULNERABILITIES: Final = Path("/sys/devices/system/cpu/vulnerabilities")
SYSCTLS: Final = (
    "net/core/somaxconn",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_congestion_control",
    "net/netfilter/nf_conntrack_max",
    "net/bridge/bridge-nf-call-iptables",
    "kernel/randomize_va_space",
)


def _first(path: Path) -> str | None:
    text = read_text(path)
    return text.strip() if text is not None else None


def _cpuinfo(*names: str) -> str | None:
    for line in (read_text(PROC / "cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return None


def environment(cpus: list[int]) -> dict[str, Any]:
    """Return kernel, CPU, mitigations, governor, limits, versions; None where not to be known."""
    cpu = Path(f"/sys/devices/system/cpu/cpu{cpus[0]}")
    flags = (_cpuinfo("flags", "Features") or "").split()
    return {
        "kernel": os.uname().release,
        "cmdline": _first(PROC / "cmdline"),
        "machine": os.uname().machine,
        "cpu_model": _cpuinfo("model name", "CPU part"),
        "microcode": _cpuinfo("microcode"),
        "hypervisor": "hypervisor" in flags,
        "aes": "aes" in flags,
        "governor": _first(cpu / "cpufreq/scaling_governor"),
        "smt_siblings": _first(cpu / "topology/thread_siblings_list"),
        "cache": {
            _first(index / "level") or "": _first(index / "size")
            for index in sorted((cpu / "cache").glob("index*"))
        },
        "mitigations": {one.name: _first(one) for one in sorted(VULNERABILITIES.glob("*"))},
        "memory_total": next(iter((read_text(PROC / "meminfo") or "").splitlines()), None),
        "sysctl": {name: _first(PROC / "sys" / name) for name in SYSCTLS},
        "nofile": _limit("Max open files"),
        # But for those that come and go with every container.
        "mtu": {
            one.name: _first(one / "mtu")
            for one in sorted(NETWORKS.glob("*"))
            if not one.name.startswith("veth") and (one / "mtu").exists()
        },
        "cgroup_version": cgroup_version(),
        "os_release": _os_release(),
        "packages_sha256": _sha256(Path("/usr/share/socklab/packages.tsv")),
    }


def _limit(name: str) -> str | None:
    for line in (read_text(PROC / "self/limits") or "").splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[0]
    return None


def _os_release() -> str | None:
    for line in (read_text(Path("/etc/os-release")) or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return None


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def describe_tool(name: str) -> dict[str, Any]:
    """Return path, Debian version and hash of a program; raises FileNotFoundError if missing."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not installed on this host")
    owner = said_by(["dpkg-query", "-S", path])
    package = owner.stdout.partition(":")[0]
    version = said_by(["dpkg-query", "-W", "-f", "${Version}", package or name])
    return {"path": path, "version": version.stdout or None, "sha256": _sha256(Path(path))}
