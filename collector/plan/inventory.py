"""The inventory as this toolkit uses it: hosts, groups, and the variables of docs/contracts.md.

``load_inventory`` starts ``ansible-inventory --list``, which reads files and, for a cloud
inventory, asks the cloud; it connects to no host. ``parse_inventory`` is pure. Refused, all
problems at once: host names that are no RFC 1123 labels (Ansible takes ``../x``), values with
template marks (they must stay literal), missing or malformed variables.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from collector.plan.findings import LABEL_LIMIT, BadInputError, Finding, is_label, shown

TIMEOUT_S: Final = 120.0  # a cloud inventory asks several regions
LAB_GROUPS: Final = ("servers", "clients", "peers", "load")
KINDS: Final = ("virtual", "bare-metal", "cloud")
ARCHES: Final = ("x86_64", "aarch64")
_CPU_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the lab. ``cpus`` are the CPU numbers that the host may use, sorted."""

    name: str
    address: str
    kind: str
    emulated: bool
    arch: str
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts by name (members of servers, clients, peers or load) and the members of every group."""

    lab_id: str
    lab_state: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]

    def group(self, name: str) -> tuple[Host, ...]:
        """Hosts of a group by name, sorted; empty where there is no such group."""
        return tuple(self.hosts[host] for host in self.groups.get(name, ()) if host in self.hosts)


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        labels = value.lower().split(".")
        return len(value) <= 253 and all(is_label(label) for label in labels)
    return True


def _is_cpu_list(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(cpu) is int and 0 <= cpu < _CPU_LIMIT for cpu in value)
        and len(set(value)) == len(value)
    )


def _is_state(value: object) -> bool:
    if not isinstance(value, str):
        return False
    path = PurePosixPath(value)
    return path.is_absolute() and ".." not in path.parts and value.isprintable()


_HOST_VARIABLES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "ansible_host": (_is_address, "an IP address or a DNS name"),
    "lab_kind": (lambda value: value in KINDS, " or ".join(KINDS)),
    "lab_emulated": (lambda value: isinstance(value, bool), "true or false (in INI True, False)"),
    "lab_arch": (lambda value: value in ARCHES, " or ".join(ARCHES)),
    "lab_cpus": (_is_cpu_list, "a list of distinct CPU numbers, such as [0, 1]"),
    "lab_id": (lambda value: isinstance(value, str) and is_label(value), "an RFC 1123 label"),
    "lab_state": (_is_state, "an absolute path"),
}


class _Group(BaseModel):
    hosts: list[str] = []
    children: list[str] = []


class _Meta(BaseModel):
    hostvars: dict[str, dict[str, Any]] = {}


_GROUPS: Final = TypeAdapter(dict[str, _Group])


class _Reading:
    """One pass over the data of ``ansible-inventory --list``; collects findings as it goes."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        try:
            groups = {name: body for name, body in dict(data).items() if name != "_meta"}
            self.hostvars = _Meta.model_validate(data.get("_meta", {})).hostvars
            self.groups = _GROUPS.validate_python(groups)
        except (ValidationError, ValueError, TypeError, AttributeError) as error:
            problem = " ".join(str(error).split())
            message = f"not what ansible-inventory --list prints: {problem}"
            raise BadInputError([Finding("error", where, message)]) from None
        self.where = where
        self.findings: list[Finding] = []

    def complain(self, place: str, message: str) -> None:
        self.findings.append(Finding("error", f"{self.where}: {place}", message))

    def members(self, group: str) -> tuple[str, ...]:
        """Hosts of a group and of the groups below it, sorted."""
        hosts: set[str] = set()
        seen: set[str] = set()
        waiting = [group]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.groups:
                hosts.update(self.groups[name].hosts)
                waiting.extend(self.groups[name].children)
        return tuple(sorted(hosts))

    def check_names(self) -> None:
        names = set(self.hostvars)
        for group in self.groups.values():
            names.update(group.hosts)
        for name in sorted(names):
            if not is_label(name):
                self.complain(
                    f"host {shown(name)}",
                    f"not a host name: expected 1 to {LABEL_LIMIT} of a-z, 0-9 and inner hyphens",
                )

    def check_literal(self) -> None:
        for name, variables in sorted(self.hostvars.items()):
            for variable, value in sorted(variables.items()):
                if any(mark in text for text in _texts(value) for mark in ("{{", "{%")):
                    message = "holds a template ({{ or {%); write the value out"
                    self.complain(f"host {shown(name)}: {variable}", message)

    def host(self, name: str) -> Host | None:
        variables = self.hostvars.get(name, {})
        sound = True
        for variable, (check, expected) in _HOST_VARIABLES.items():
            place = f"host {name}: {variable}"
            if variable not in variables:
                self.complain(place, f"missing; expected {expected}")
                sound = False
            elif not check(variables[variable]):
                self.complain(place, f"expected {expected}, got {shown(variables[variable])}")
                sound = False
        if not sound:
            return None
        return Host(
            name=name,
            address=variables["ansible_host"],
            kind=variables["lab_kind"],
            emulated=variables["lab_emulated"],
            arch=variables["lab_arch"],
            cpus=tuple(sorted(variables["lab_cpus"])),
        )

    def common(self, variable: str, names: Sequence[str]) -> str:
        """Value of a variable that is the lab's, so must be the same on every host."""
        first = str(self.hostvars[names[0]][variable])
        for name in names[1:]:
            value = self.hostvars[name][variable]
            if value != first:
                message = f"{shown(value)}, but host {names[0]} has {shown(first)}; set it for all"
                self.complain(f"host {name}: {variable}", message)
        return first


def _texts(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, Sequence):
            waiting.extend(item)


def parse_inventory(data: Mapping[str, Any], where: str = "inventory") -> Inventory:
    """Check what ``ansible-inventory --list`` printed, and keep what a plan needs.

    Variables are required of members of servers, clients, peers and load; other hosts only need a
    sound name. Raises ``BadInputError`` with every problem; ``where`` begins each.
    """
    reading = _Reading(data, where)
    reading.check_names()
    reading.check_literal()
    if reading.findings:
        raise BadInputError(reading.findings)
    groups = {name: reading.members(name) for name in sorted(reading.groups)}
    names = sorted({host for group in LAB_GROUPS for host in groups.get(group, ())})
    if not names:
        reading.complain("groups", f"no host in any of {', '.join(LAB_GROUPS)}")
    read = {name: reading.host(name) for name in names}
    if reading.findings:
        raise BadInputError(reading.findings)
    lab_id = reading.common("lab_id", names)
    lab_state = reading.common("lab_state", names)
    if reading.findings:
        raise BadInputError(reading.findings)
    hosts = {name: host for name, host in read.items() if host is not None}
    return Inventory(lab_id, Path(lab_state), hosts, groups)


def _program() -> str | None:
    beside = Path(sys.executable).with_name("ansible-inventory")
    return str(beside) if beside.exists() else shutil.which("ansible-inventory")


def _listing(path: Path) -> bytes:
    """What ``ansible-inventory --list`` prints. Raises ``BadInputError`` where it cannot."""

    def refusal(message: str) -> BadInputError:
        return BadInputError([Finding("error", str(path), message)])

    if not path.exists():
        raise refusal("no such inventory; expected a file or folder, as ansible-playbook -i takes")
    program = _program()
    if program is None:
        raise refusal("ansible-inventory is not on the PATH; install ansible-core")
    # Without this setting Ansible warns about a source that it cannot read, and exits 0.
    env = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    try:
        done = subprocess.run(
            [program, "-i", str(path.absolute()), "--list"],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise refusal(f"ansible-inventory did not end within {TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise refusal(f"ansible-inventory exited {done.returncode}:\n{said}")
    return done.stdout


def list_inventory(path: Path) -> dict[str, Any]:
    """Return what ``ansible-inventory --list`` prints; connects to no host.

    Raises ``BadInputError``, which begins with the inventory's path.
    """
    try:
        data = json.loads(_listing(path))
    except ValueError as error:
        message = f"ansible-inventory printed no JSON: {error}"
        raise BadInputError([Finding("error", str(path), message)]) from None
    return dict(data)


def load_inventory(path: Path) -> Inventory:
    """Read an inventory through ``ansible-inventory``; connects to no host.

    Raises ``BadInputError`` with every problem, each beginning with the inventory's path.
    """
    return parse_inventory(list_inventory(path), str(path))
