"""A cloud inventory as it should be: the hosts of its ``hosts.yml``, read without asking the cloud.

``aws_ec2.yml`` beside it names region and lab once more, because the inventory plugin sees no
variables; files that disagree are refused, or teardown would look elsewhere than start did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collector.plan.findings import BadInputError, Finding, shown
from collector.plan.inventory import Host, list_inventory, parse_inventory
from collector.plan.yamlfile import read_yaml

WANTED: Final = "hosts.yml"
EXISTING: Final = "aws_ec2.yml"
PREFIX: Final = "cloud_hosts_"
LAB_TAG: Final = "socklab.lab"
HOST_TAG: Final = "socklab.host"
WIDEST_CALLER: Final = 24  # bits: the line of an office, never a whole provider
PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", re.ASCII)
_RESERVED: Final = 4  # EC2 keeps a subnet's first four addresses, and the last
_Digits = Annotated[str, Field(pattern=r"^[0-9]{12}$")]


class _Variables(BaseModel):
    """The lab's ``cloud_hosts_*`` variables."""

    model_config = ConfigDict(alias_generator=lambda name: PREFIX + name, frozen=True, strict=True)

    account: _Digits
    role: str = Field(pattern=r"^[A-Za-z0-9+=,.@_-]{1,64}$")
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    zone: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")
    subnet: str
    caller: str
    hours: float = Field(gt=0, le=8760)
    image_owner: _Digits
    disk_gb: int = Field(ge=8, le=1000)


@dataclass(frozen=True, slots=True)
class WantedHost:
    """A host that the lab should have; ``type`` is EC2's instance type."""

    host: Host
    type: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What one lab wants of EC2. ``caller`` is None where the inventory leaves it open."""

    lab_id: str
    account: str
    role: str
    region: str
    zone: str
    subnet: IPv4Network
    caller: IPv4Network | None
    hours: float
    image_owner: str
    disk_gb: int
    hosts: tuple[WantedHost, ...]


def parse_caller(text: str) -> IPv4Network:
    """Address or network from which ssh is let in. Raises ``ValueError`` saying what is expected.

    >>> parse_caller("203.0.113.7")
    IPv4Network('203.0.113.7/32')
    """
    try:
        network = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        network = None
    if network is None or network.prefixlen < WIDEST_CALLER:
        raise ValueError(
            f"expected the IPv4 address from which you come, or a network of at least "
            f"/{WIDEST_CALLER}, got {shown(text)}"
        )
    return network


def read_settings(inventory: Path, caller: str = "") -> Settings:
    """Read a cloud inventory's folder; ``caller`` stands in where the inventory leaves it open.

    Asks no cloud. Raises ``BadInputError`` with every problem.
    """
    path = inventory / WANTED
    data = list_inventory(path)
    hosts = parse_inventory(data, str(path))
    hostvars: Mapping[str, Mapping[str, Any]] = data["_meta"]["hostvars"]
    cloud = [host for host in hosts.hosts.values() if host.kind == "cloud"]
    if not cloud:
        message = "no host with lab_kind cloud; is this the folder of a cloud inventory?"
        raise BadInputError([Finding("error", str(path), message)])
    try:
        variables = _Variables.model_validate(_common(hostvars, cloud, path))
    except ValidationError as error:
        raise BadInputError(_problems(error, path)) from None
    findings = [*_host_problems(cloud, hostvars, variables, path)]
    findings += _plugin_problems(inventory / EXISTING, hosts.lab_id, variables.region)
    network = None
    if text := caller or variables.caller:
        try:
            network = parse_caller(text)
        except ValueError as error:
            findings.append(Finding("error", f"{path}: {PREFIX}caller", str(error)))
    if findings:
        raise BadInputError(findings)
    return Settings(
        lab_id=hosts.lab_id,
        account=variables.account,
        role=variables.role,
        region=variables.region,
        zone=variables.zone,
        subnet=IPv4Network(variables.subnet),
        caller=network,
        hours=variables.hours,
        image_owner=variables.image_owner,
        disk_gb=variables.disk_gb,
        hosts=tuple(WantedHost(one, hostvars[one.name][f"{PREFIX}type"]) for one in cloud),
    )


def _common(
    hostvars: Mapping[str, Mapping[str, Any]], hosts: list[Host], path: Path
) -> dict[str, Any]:
    """The lab's variables from its first host; those of the others must be the same."""
    names = [PREFIX + name for name in _Variables.model_fields]
    first = {
        name: hostvars[hosts[0].name][name] for name in names if name in hostvars[hosts[0].name]
    }
    differing = [
        Finding("error", f"{path}: host {host.name}: {name}", "must be the same for all hosts")
        for host in hosts[1:]
        for name in names
        if hostvars[host.name].get(name) != first.get(name)
    ]
    if differing:
        raise BadInputError(differing)
    return first


def _problems(error: ValidationError, path: Path) -> Iterator[Finding]:
    for one in error.errors():
        got = "" if one["type"] == "missing" else f", got {shown(one['input'])}"
        yield Finding("error", f"{path}: {one['loc'][0]}", f"{one['msg']}{got}")


def _host_problems(
    hosts: list[Host],
    hostvars: Mapping[str, Mapping[str, Any]],
    variables: _Variables,
    path: Path,
) -> Iterator[Finding]:
    if not variables.zone.startswith(variables.region):
        message = f"expected a zone of region {variables.region}, got {shown(variables.zone)}"
        yield Finding("error", f"{path}: {PREFIX}zone", message)
    try:
        subnet = IPv4Network(variables.subnet)
    except ValueError as error:
        yield Finding("error", f"{path}: {PREFIX}subnet", str(error))
        return
    if not 16 <= subnet.prefixlen <= 28 or not any(map(subnet.subnet_of, PRIVATE)):
        message = f"expected a private network of /16 to /28, got {subnet}"
        yield Finding("error", f"{path}: {PREFIX}subnet", message)
        return
    free = range(int(subnet[_RESERVED]), int(subnet[-1]))
    taken: dict[str, str] = {}
    for host in hosts:
        where = f"{path}: host {host.name}"
        kind = hostvars[host.name].get(f"{PREFIX}type")
        if not (isinstance(kind, str) and _TYPE.fullmatch(kind)):
            message = f"expected an instance type such as c7g.xlarge, got {shown(kind)}"
            yield Finding("error", f"{where}: {PREFIX}type", message)
        try:
            inside = int(IPv4Address(host.address)) in free
        except AddressValueError:
            inside = False
        if not inside:
            message = (
                f"expected an address of {subnet}, without its first {_RESERVED} and its last, "
                f"got {shown(host.address)}"
            )
            yield Finding("error", f"{where}: ansible_host", message)
        elif host.address in taken:
            message = f"{host.address} is that of {taken[host.address]} too"
            yield Finding("error", f"{where}: ansible_host", message)
        taken[host.address] = host.name


def _plugin_problems(path: Path, lab_id: str, region: str) -> Iterator[Finding]:
    """Does the inventory plugin look for this lab, where it is started?"""
    try:
        data, source, problems = read_yaml(path.read_bytes(), str(path))
    except OSError as error:
        yield Finding("error", str(path), error.strerror or "cannot be read")
        return
    yield from problems
    data = data if isinstance(data, dict) else {}
    if data.get("regions") != [region]:
        message = f"expected [{region}], the region of {WANTED}, got {shown(data.get('regions'))}"
        yield Finding("error", source.where("regions"), message)
    filters = data.get("filters")
    found = filters.get(f"tag:{LAB_TAG}") if isinstance(filters, dict) else None
    if found != lab_id:
        message = f"expected {lab_id}, the lab_id of {WANTED}, got {shown(found)}"
        yield Finding("error", source.where("filters", f"tag:{LAB_TAG}"), message)
