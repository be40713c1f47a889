"""Can the hosts that are wanted be had? Asked, and refused, before anything is started.

EC2 says most of it only when an instance is launched, and then half of a lab may stand already:
images for every architecture, types of that architecture and offered in the zone, the quota of
virtual CPUs, and what exists of this lab, instances and network, that the inventory does not want.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from collector.cloud.errors import CloudError
from collector.cloud.session import Caller, plain_errors
from collector.cloud.settings import HOST_TAG, LAB_TAG, Settings

EC2_ARCH: Final = {"x86_64": "x86_64", "aarch64": "arm64"}
DEBIAN_ARCH: Final = {"x86_64": "amd64", "aarch64": "arm64"}
ALIVE: Final = ["pending", "running", "stopping", "stopped"]
QUOTA: Final = "L-1216C47A"  # running on-demand standard (A, C, D, H, I, M, R, T, Z), in vCPUs
_STANDARD: Final = re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)[0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Image:
    """A machine image: its id, its name, and the device of its root disk."""

    id: str
    name: str
    root_device: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What EC2 has. ``states`` of instances and ``vcpus`` are by host; quota's None is unknown."""

    images: Mapping[str, Image]
    states: Mapping[str, str]
    vcpus: Mapping[str, int]
    quota: float | None
    used: int | None

    def missing(self, settings: Settings) -> list[str]:
        """Names of the hosts that would be started."""
        return [one.host.name for one in settings.hosts if one.host.name not in self.states]


def survey(caller: Caller, settings: Settings) -> Survey:
    """Ask EC2 and Service Quotas; raises ``CloudError`` with every reason against starting."""
    ec2 = caller.client("ec2")
    with plain_errors():
        types = _types(ec2, settings)
        images = {one.host.arch: _image(ec2, one.host.arch, settings) for one in settings.hosts}
        tagged = [{"Name": f"tag:{LAB_TAG}", "Values": [settings.lab_id]}]
        instances = _instances(ec2, tagged)
        running = [one for one in _instances(ec2, []) if _counts(one)]
        subnets = ec2.describe_subnets(Filters=tagged)["Subnets"]
        quota = _quota(caller.client("service-quotas"))
    found = Survey(
        images={arch: image for arch, image in images.items() if image is not None},
        states={_name(one): one["State"]["Name"] for one in instances},
        vcpus={
            one.host.name: types[one.type]["VCpuInfo"]["DefaultVCpus"]
            for one in settings.hosts
            if one.type in types
        },
        quota=quota,
        used=_vcpus(running),
    )
    findings = [
        *_type_problems(settings, types),
        *_image_problems(settings, found),
        *_instance_problems(settings, instances),
        *_subnet_problems(settings, subnets),
        *_quota_problems(settings, found),
    ]
    if findings:
        raise CloudError("\n".join(findings))
    return found


def _types(ec2: Any, settings: Settings) -> dict[str, dict[str, Any]]:
    """What EC2 says of the wanted types that the zone offers."""
    wanted = sorted({one.type for one in settings.hosts})
    offers = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[
            {"Name": "location", "Values": [settings.zone]},
            {"Name": "instance-type", "Values": wanted},
        ],
    )
    offered = [one["InstanceType"] for page in offers for one in page["InstanceTypeOfferings"]]
    if not offered:
        return {}
    pages = ec2.get_paginator("describe_instance_types").paginate(InstanceTypes=offered)
    return {one["InstanceType"]: one for page in pages for one in page["InstanceTypes"]}


def _image(ec2: Any, arch: str, settings: Settings) -> Image | None:
    """The newest Debian 12 of an architecture."""
    found = ec2.describe_images(
        Owners=[settings.image_owner],
        Filters=[
            {"Name": "name", "Values": [f"debian-12-{DEBIAN_ARCH[arch]}-*"]},
            {"Name": "architecture", "Values": [EC2_ARCH[arch]]},
            {"Name": "root-device-type", "Values": ["ebs"]},
            {"Name": "state", "Values": ["available"]},
        ],
    )["Images"]
    if not found:
        return None
    newest = max(found, key=lambda one: (one["CreationDate"], one["ImageId"]))
    return Image(newest["ImageId"], newest["Name"], newest["RootDeviceName"])


def _instances(ec2: Any, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    alive = {"Name": "instance-state-name", "Values": ALIVE}
    pages = ec2.get_paginator("describe_instances").paginate(Filters=[*filters, alive])
    return [one for page in pages for group in page["Reservations"] for one in group["Instances"]]


def _counts(instance: Mapping[str, Any]) -> bool:
    """Does it use the quota of on-demand standard instances?"""
    return (
        instance["State"]["Name"] in ("pending", "running")
        and _STANDARD.match(instance["InstanceType"]) is not None
        and "InstanceLifecycle" not in instance
    )


def _vcpus(instances: list[dict[str, Any]]) -> int | None:
    total = 0
    for one in instances:
        options = one.get("CpuOptions") or {}
        cores, threads = options.get("CoreCount"), options.get("ThreadsPerCore")
        if cores is None or threads is None:
            return None
        total += cores * threads
    return total


def _quota(quotas: Any) -> float | None:
    try:
        value = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=QUOTA)["Quota"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchResourceException":
            return None
        raise
    return float(value)


def _name(instance: Mapping[str, Any]) -> str:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return str(tags.get(HOST_TAG, instance["InstanceId"]))


def _type_problems(settings: Settings, types: Mapping[str, Any]) -> Iterator[str]:
    for one in settings.hosts:
        host = one.host
        if one.type not in types:
            yield (
                f"{host.name}: {one.type} is not offered in {settings.zone}; "
                "take another type or zone"
            )
            continue
        arches = types[one.type]["ProcessorInfo"]["SupportedArchitectures"]
        if EC2_ARCH[host.arch] not in arches:
            yield (
                f"{host.name}: {one.type} is {', '.join(arches)}, and the host's lab_arch is "
                f"{host.arch}: its image would not start; change one of the two"
            )
        vcpus = types[one.type]["VCpuInfo"]["DefaultVCpus"]
        if host.cpus[-1] >= vcpus:
            yield (
                f"{host.name}: {one.type} has the CPUs 0 to {vcpus - 1}, and lab_cpus names "
                f"{host.cpus[-1]}"
            )


def _image_problems(settings: Settings, found: Survey) -> Iterator[str]:
    for arch in sorted({one.host.arch for one in settings.hosts}):
        if arch not in found.images:
            yield (
                f"no image debian-12-{DEBIAN_ARCH[arch]}-* of owner {settings.image_owner} for "
                f"{arch} in {settings.region}; take another region, or leave out hosts of {arch}"
            )


def _instance_problems(settings: Settings, instances: list[dict[str, Any]]) -> Iterator[str]:
    wanted = {one.host.name: one for one in settings.hosts}
    seen: set[str] = set()
    for instance in instances:
        name = _name(instance)
        where = f"{name} ({instance['InstanceId']})"
        if name not in wanted:
            yield f"{where} is of this lab and not in the inventory; put it back, or make teardown"
        elif name in seen:
            yield f"{where} exists twice in this lab; make teardown"
        elif instance["State"]["Name"] not in ("pending", "running"):
            state = instance["State"]["Name"]
            yield f"{where} is {state}; start it in EC2 once it is stopped, or make teardown"
        elif instance["InstanceType"] != wanted[name].type:
            yield (
                f"{where} is {instance['InstanceType']}, and the inventory wants "
                f"{wanted[name].type}; make teardown, or write what it is"
            )
        elif (address := instance.get("PrivateIpAddress")) != wanted[name].host.address:
            yield (
                f"{where} has the address {address}, and the inventory wants "
                f"{wanted[name].host.address}; put the address back, or make teardown first"
            )
        seen.add(name)


def _subnet_problems(settings: Settings, subnets: list[Mapping[str, Any]]) -> Iterator[str]:
    """A network of other bounds would be made beside it, and a zone is never changed."""
    wanted = f"{settings.subnet} in {settings.zone}"
    for one in subnets:
        found = f"{one['CidrBlock']} in {one['AvailabilityZone']}"
        if found != wanted:
            yield (
                f"the lab's network ({one['SubnetId']}) is {found}, and the inventory wants "
                f"{wanted}; put it back, or make teardown first"
            )


def _quota_problems(settings: Settings, found: Survey) -> Iterator[str]:
    types = {one.host.name: one.type for one in settings.hosts}
    needed = sum(
        found.vcpus.get(name, 0) for name in found.missing(settings) if _STANDARD.match(types[name])
    )
    used = found.used or 0
    if found.quota is not None and used + needed > found.quota:
        yield (
            f"quota: {needed} vCPUs are wanted, and {used} of {found.quota:.0f} are in use in "
            f"{settings.region}; ask AWS to raise quota {QUOTA}, or take smaller types"
        )
