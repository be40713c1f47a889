"""Look at a machine before the lab changes anything there. Standard library; reads only.

Runs on the host as root, from standard input: it leaves nothing behind. Its argument is JSON, what
is wanted of the machine; so is its output, each finding as [what, cure]::

    {"errors": [], "warnings": [["the governor of CPU 1 is powersave", "..."]],
     "release": "Debian GNU/Linux 13 (trixie)", "untested": false}

Errors are refused, warnings are recorded. Files are read below ``root``, so that a test can show
a machine of its own. Null is not zero: where the kernel says nothing, nothing is found. Runs from
Python 3.8 on, as Ansible's modules do, so that a machine with an older one than the runner's is
told what it lacks.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # an older Python cannot evaluate it
    Finding = tuple[str, str]

ARCHES = ("x86_64", "aarch64")
RELEASES = ("12", "13")
PYTHON = (3, 11)
RECORD = "etc/socklab/before.json"
CONTROLLERS_V1 = {"cpu", "cpuacct", "cpuset", "memory", "pids"}
CONTROLLERS_V2 = {"cpu", "cpuset", "memory", "pids"}
# Each with a function of its own: what is built in may leave no other trace.
MODULES = {
    "bridge": "br_handle_frame",
    "veth": "veth_newlink",
    "overlay": "ovl_fill_super",
    "nf_tables": "nft_do_chain",
    "x_tables": "xt_register_target",
}
SKEW_S = 1.0
STEAL_SHARE = 0.01
SIOCGIFADDR = 0x8915
LISTENING = "0A"
ENGINE_USER = "socklab"
GIB = 1 << 30
# What a teardown removes where the unit was not there before the lab.
ENGINES = {
    "docker.service": ("/var/lib/docker", "/etc/docker/key.json"),
    "containerd.service": ("/var/lib/containerd",),
}


class Machine:
    """What a machine says of itself. Texts are None where a file is not there."""

    def __init__(self, root: Path, wanted: dict[str, Any]) -> None:
        self.root = root
        self.wanted = wanted
        self.arch = os.uname().machine
        self.kernel = os.uname().release
        self.sshd: list[str] = []  # its settings in force, as ``sshd -T`` prints them
        self.units: set[str] = set()  # those of ENGINES that systemd knows

    def text(self, path: str) -> str | None:
        """Return a file's text, stripped."""
        try:
            return (self.root / path).read_text("utf-8", "replace").strip()
        except OSError:
            return None

    def lines(self, path: str) -> list[str]:
        """Return a file's lines; none where it is not there."""
        return (self.text(path) or "").splitlines()

    def cpu(self, number: int, path: str) -> str | None:
        """Return the text of a file of one CPU."""
        return self.text(f"sys/devices/system/cpu/cpu{number}/{path}")

    def processes(self) -> Iterator[tuple[Path, str]]:
        """Folder below /proc and name of every process."""
        for folder in (self.root / "proc").glob("[0-9]*"):
            name = self.text(f"proc/{folder.name}/comm")
            if name is not None:
                yield folder, name

    def tenant(self) -> str | None:
        """Id of the lab that has written down what the machine was before it."""
        text = self.text(RECORD)
        return None if text is None else str(json.loads(text)["lab"])

    def own(self) -> bool:
        """Whether this lab has been here: what it put there is then no stranger's."""
        return self.tenant() == str(self.wanted["lab"])


def numbers(text: str) -> set[int]:
    """CPU numbers of the kernel's lists: ``0-2,8`` is {0, 1, 2, 8}."""
    spans = [part.partition("-") for part in text.split(",") if part]
    return {n for first, _, last in spans for n in range(int(first), int(last or first) + 1)}


def _listed(values: set[int] | list[int]) -> str:
    return ", ".join(map(str, sorted(values)))


# Errors


def _first_process(machine: Machine) -> Iterator[Finding]:
    name = machine.text("proc/1/comm")
    if name != "systemd":
        yield f"process 1 is {name}, not systemd", "apt-get install systemd-sysv, and boot with it"


def _python(machine: Machine) -> Iterator[Finding]:
    if sys.version_info < PYTHON:
        yield (
            f"python3 is {sys.version.split()[0]}, the runner needs {PYTHON[0]}.{PYTHON[1]}",
            "install a newer one as python3",
        )


def _architecture(machine: Machine) -> Iterator[Finding]:
    wanted = machine.wanted["arch"]
    if machine.arch not in ARCHES:
        yield f"the architecture is {machine.arch}", f"the lab runs on {' and '.join(ARCHES)}"
    elif machine.arch != wanted:
        yield f"the architecture is {machine.arch}, lab_arch says {wanted}", "correct lab_arch"


def _release(machine: Machine) -> str:
    fields = dict(line.partition("=")[::2] for line in machine.lines("etc/os-release"))
    return fields.get("PRETTY_NAME", "unknown").strip("'\"")


def _tested(machine: Machine) -> bool:
    fields = dict(line.partition("=")[::2] for line in machine.lines("etc/os-release"))
    identity = [fields.get(name, "").strip("'\"") for name in ("ID", "VERSION_ID")]
    return identity[0] == "debian" and identity[1] in RELEASES


def _supported(machine: Machine) -> Iterator[Finding]:
    if not _tested(machine) and not machine.wanted["allow_untested"]:
        yield (
            f"the system is {_release(machine)}; tried are Debian {' and '.join(RELEASES)}",
            "take one of them, or set allow_untested=true, which every row will say",
        )


def _control_groups(machine: Machine) -> Iterator[Finding]:
    unified = machine.text("sys/fs/cgroup/cgroup.controllers")
    if unified is not None:
        missing = CONTROLLERS_V2 - set(unified.split())
    else:
        rows = [line.split() for line in machine.lines("proc/cgroups") if line[:1] != "#"]
        missing = CONTROLLERS_V1 - {row[0] for row in rows if row[-1] == "1"}
    if missing:
        yield (
            f"control groups without {', '.join(sorted(missing))}",
            "allow them on the kernel's command line (cgroup_enable=memory, ...) and boot again",
        )


def _modules(machine: Machine) -> Iterator[Finding]:
    folder = f"lib/modules/{machine.kernel}"
    files = machine.lines(f"{folder}/modules.builtin") + machine.lines(f"{folder}/modules.dep")
    known = {line.partition(":")[0].rpartition("/")[2].partition(".ko")[0] for line in files}
    known |= {line.split()[-1] for line in machine.lines("proc/filesystems")}
    left = {
        name
        for name in MODULES
        if name not in known and not (machine.root / "sys/module" / name).exists()
    }
    if left:
        symbols = {line.split()[2] for line in machine.lines("proc/kallsyms")}
        left = {name for name in left if MODULES[name] not in symbols}
    if left:
        yield (
            f"the kernel has no {', '.join(sorted(left))}",
            "install the modules of the running kernel (Debian: linux-image-*), and boot it",
        )


def _ports(machine: Machine) -> Iterator[Finding]:
    """Listeners on wanted ports that are not the lab's own program."""
    taken: dict[str, str] = {}
    for line in machine.lines("proc/net/tcp")[1:] + machine.lines("proc/net/tcp6")[1:]:
        fields = line.split()
        port = str(int(fields[1].rpartition(":")[2], 16))
        if fields[3] == LISTENING and port in machine.wanted["ports"]:
            taken[f"socket:[{fields[9]}]"] = port
    holders = _holders_of(machine, set(taken)) if taken else {}
    for inode, port in sorted(taken.items(), key=lambda item: int(item[1])):
        holder, program = holders.get(inode, "an unknown process"), machine.wanted["ports"][port]
        if not (machine.own() and holder == program[:15]):
            yield f"port {port}, needed by {program}, is held by {holder}", f"stop {holder}"


def _holders_of(machine: Machine, inodes: set[str]) -> dict[str, str]:
    found = {}
    for folder, name in machine.processes():
        try:
            for link in (folder / "fd").iterdir():
                target = os.readlink(link)  # noqa: PTH115 - the text, not a path
                if target in inodes:
                    found[target] = name
        except OSError:
            continue
    return found


def _strangers(machine: Machine) -> Iterator[Finding]:
    """What the lab would replace, and its teardown remove, though it is somebody else's."""
    tenant = machine.tenant()
    if tenant is not None:
        if not machine.own():
            yield f"lab {tenant} is on this machine", f"take lab {tenant} down first"
        return
    there = [path for path in machine.wanted["paths"] if os.path.lexists(machine.root / path[1:])]
    users = {line.partition(":")[0] for line in machine.lines("etc/passwd")}
    there += [f"user {name}" for name in machine.wanted["users"] if name in users]
    if there:
        yield (
            f"already there, and not this lab's: {', '.join(there)}",
            "remove them (of a lab before this release: what it left), or take another machine",
        )


def _left_behind(machine: Machine) -> Iterator[Finding]:
    """What a removed engine kept: somebody's volumes, in what would become the lab's folder."""
    if machine.own():
        return
    for unit, paths in ENGINES.items():
        kept = [path for path in paths if _holds(machine.root / path[1:])]
        if kept and unit not in machine.units:
            yield (
                f"{unit} is not there, and what it kept is: {', '.join(kept)}",
                "move that away, or purge its package if nobody wants it: the lab would start "
                "what is in it, and teardown remove it",
            )


def _holds(path: Path) -> bool:
    """A file, or a folder that is not empty; one of a file system's own has a lost+found."""
    if not path.is_dir():
        return path.exists()
    return any(one.name != "lost+found" for one in path.iterdir())


def _clock(machine: Machine) -> Iterator[Finding]:
    skew = machine.wanted["skew_s"]
    if abs(skew) > SKEW_S:
        side = "ahead of" if skew > 0 else "behind"
        yield (
            f"its clock is {abs(skew):.1f} s {side} the controller's",
            "let both follow NTP: apt-get install systemd-timesyncd",
        )


def _cpus(machine: Machine) -> Iterator[Finding]:
    wanted = machine.wanted["cpus"]
    if not wanted or len(set(wanted)) != len(wanted):
        yield f"lab_cpus is {wanted}", "name one CPU or more, each once"
    online = numbers(machine.text("sys/devices/system/cpu/online") or "")
    for line in machine.lines("proc/self/status"):
        if line.startswith("Cpus_allowed_list:"):
            online &= numbers(line.split()[1])
    if absent := set(wanted) - online:
        yield f"no CPU {_listed(absent)}; there are {_listed(online)}", "correct lab_cpus"


def _address(machine: Machine) -> Iterator[Finding]:
    """Services bind to the address, so it must be one of the machine's own."""
    wanted, interface = machine.wanted["address"], machine.wanted["interface"]
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(wanted).version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((wanted, 0))
    except ValueError:
        yield f"ansible_host is {wanted}, a name", "write the address: services bind to it"
        return
    except OSError:
        yield f"no interface has the address {wanted}", "correct ansible_host"
        return
    if interface and (found := _address_of(interface)) != wanted:
        yield f"interface {interface} has {found or 'no address'}", "correct nomad_interface"


def _address_of(interface: str) -> str | None:
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            return socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24])
        except OSError:
            return None


def _login(machine: Machine) -> Iterator[Finding]:
    """The engine comes in as a user of its own, by the key in that user's home."""
    settings = [line.split() for line in machine.sshd]
    files = [path for words in settings if words[0] == "authorizedkeysfile" for path in words[1:]]
    if files and not any(path.endswith(".ssh/authorized_keys") for path in files):
        yield (
            f"sshd looks for keys in {' '.join(files)} alone",
            "add .ssh/authorized_keys to AuthorizedKeysFile: the lab's user has its key there",
        )
    users = [name for words in settings if words[0] == "allowusers" for name in words[1:]]
    if users and ENGINE_USER not in users:
        yield f"sshd lets in {', '.join(users)} alone", f"add {ENGINE_USER} to AllowUsers"


def _disk(machine: Machine) -> Iterator[Finding]:
    found = os.statvfs(machine.root / "var/lib")
    free = found.f_bavail * found.f_frsize / GIB
    if free < machine.wanted["disk_gib"]:
        yield f"{free:.1f} GiB free in /var/lib, needed {machine.wanted['disk_gib']}", "free some"


def _memory(machine: Machine) -> Iterator[Finding]:
    fields = dict(line.partition(":")[::2] for line in machine.lines("proc/meminfo"))
    there = int(fields["MemTotal"].split()[0]) // 1024
    if there < machine.wanted["memory_mb"]:
        yield f"{there} MB of memory, needed {machine.wanted['memory_mb']}", "take a larger one"


# Warnings


def _untested(machine: Machine) -> Iterator[Finding]:
    if not _tested(machine):
        yield f"untested system: {_release(machine)}", "compare with care; every row says it"


def _governor(machine: Machine) -> Iterator[Finding]:
    found: dict[str, list[int]] = {}
    for cpu in machine.wanted["cpus"]:
        name = machine.cpu(cpu, "cpufreq/scaling_governor")
        if name not in (None, "performance"):
            found.setdefault(str(name), []).append(cpu)
    for name, cores in found.items():
        yield (
            f"the governor of CPU {_listed(cores)} is {name}",
            "cpupower frequency-set --governor performance",
        )


def _turbo(machine: Machine) -> Iterator[Finding]:
    folder = "sys/devices/system/cpu"
    if (
        machine.text(f"{folder}/intel_pstate/no_turbo") == "0"
        or machine.text(f"{folder}/cpufreq/boost") == "1"
    ):
        yield "turbo is on: clocks follow heat", "switch it off in the firmware or below /sys"


def _siblings(machine: Machine) -> Iterator[Finding]:
    """A core of which the lab has a part: another host's CPUs, or interrupts, have the rest."""
    wanted = set(machine.wanted["cpus"])
    for cpu in sorted(wanted):
        others = numbers(machine.cpu(cpu, "topology/thread_siblings_list") or "") - wanted
        if others:
            yield (
                f"CPU {cpu} shares its core with CPU {_listed(others)}, not in lab_cpus",
                "give a host whole cores, or leave the sibling idle",
            )


def _balancer(machine: Machine) -> Iterator[Finding]:
    if any(name == "irqbalance" for _, name in machine.processes()):
        yield "irqbalance moves interrupts", "systemctl disable --now irqbalance"


def _steal(machine: Machine) -> Iterator[Finding]:
    ticks = [int(field) for field in machine.lines("proc/stat")[0].split()[1:9]]
    share = ticks[7] / max(1, sum(ticks))
    if share > STEAL_SHARE:
        yield f"{share:.1%} of its CPU was stolen since it booted", "take a machine of your own"


def _engine(machine: Machine) -> Iterator[Finding]:
    if not machine.own() and (machine.root / "run/docker.pid").exists():
        yield (
            "Docker runs here: until teardown it has the lab's configuration",
            "stop its containers; starting it anew ends them",
        )


ERRORS = (
    _first_process, _python, _architecture, _supported, _control_groups, _modules, _ports,
    _strangers, _left_behind, _clock, _cpus, _address, _login, _disk, _memory,
)  # fmt: skip
WARNINGS = (_untested, _governor, _turbo, _siblings, _balancer, _steal, _engine)


def look(machine: Machine) -> dict[str, Any]:
    """Every finding at once; the module's docstring has the shape."""
    return {
        "errors": [finding for check in ERRORS for finding in check(machine)],
        "warnings": [finding for check in WARNINGS for finding in check(machine)],
        "release": _release(machine),
        "untested": not _tested(machine),
    }


def main() -> None:
    """Look at the machine that this runs on."""
    machine = Machine(Path("/"), json.loads(sys.argv[1]))
    machine.sshd = _asked("sshd -T").stdout.splitlines()
    machine.units = {one for one in ENGINES if _asked(f"systemctl cat {one}").returncode == 0}
    print(json.dumps(look(machine)))


def _asked(command: str) -> subprocess.CompletedProcess[str]:
    """Of a shell: it says of a program that is not there that it failed."""
    return subprocess.run(
        ["/bin/sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {command}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
