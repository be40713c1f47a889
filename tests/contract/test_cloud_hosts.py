"""Cloud hosts against moto: provision, half-way failures, teardown.

The playbooks are the real ones, up to where hosts would be reached by ssh: moto's do not exist.
"""

from __future__ import annotations

import json
import re
import subprocess

from cloudlab import EXTERNAL_ID, LAB, NOTHING, YES, Cloud, Lab, shipped

WHOLE = {**dict.fromkeys(NOTHING, 1), "instances": 3, "volumes": 3}
OTHER = "other"
# What aws_caller_info asks for as well, and does without.
OPTIONAL = {"iam:ListAccountAliases"}


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    (line,) = re.findall(r"^localhost +: (.*)$", done.stdout, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


def allowed() -> set[str]:
    statements = json.loads(shipped("policy.json"))["Statement"]
    actions = [one["Action"] for one in statements]
    return {name for one in actions for name in ([one] if isinstance(one, str) else one)}


def second_host(call: str, body: str) -> str | None:
    return "VcpuLimitExceeded" if call == "ec2:RunInstances" and "cloud-2" in body else None


def test_start_that_fails_half_way_goes_on_and_is_removed_whole(cloud: Cloud, lab: Lab) -> None:
    bystander = cloud.client("ec2").create_vpc(
        CidrBlock="10.88.0.0/24",
        TagSpecifications=[
            {"ResourceType": "vpc", "Tags": [{"Key": "socklab.lab", "Value": OTHER}]}
        ],
    )
    print("before:", cloud.state(LAB), "another lab:", cloud.state(OTHER))
    others = cloud.state(OTHER)
    assert (cloud.state(LAB), others["vpcs"]) == (NOTHING, 1)

    cloud.refuse = second_host
    done = lab.play(*YES)
    print("the second host refused:", cloud.state(LAB))
    assert done.returncode == 2, done.stdout
    assert "cloud-2 was not started:" in done.stdout
    assert "VcpuLimitExceeded" in done.stdout
    assert cloud.state(LAB) == {**WHOLE, "instances": 1, "volumes": 1}

    cloud.refuse = lambda call, body: None
    again = lab.play(*YES, "-e", "cloud_hosts_caller=198.51.100.9", "-vvv")
    print("again:", cloud.state(LAB))
    assert again.returncode == 0, again.stdout
    assert cloud.state(LAB) == WHOLE
    check_instances(cloud, lab)
    check_group(cloud)
    check_inventory(lab)

    third = lab.play("-e", "cloud_hosts_caller=198.51.100.9")
    assert third.returncode == 0, third.stdout
    assert recap(third)["changed"] == 0, third.stdout

    lab.edit("hosts.yml", ("10.87.0.", "10.88.0."))
    moved = lab.ask("plan", "--caller", "198.51.100.9")
    assert moved.returncode == 1, moved.stdout
    assert "has the address 10.87.0.13, and the inventory wants 10.88.0.13" in moved.stdout
    assert "is 10.87.0.0/24 in eu-central-1a, and the inventory wants 10.88.0.0/24" in moved.stdout
    lab.edit("hosts.yml", ("10.88.0.", "10.87.0."))

    key = (lab.state / "ssh/hosts/cloud-2/host_ed25519").read_text().splitlines()[1]
    for output in (done.stdout, again.stdout, third.stdout):
        assert key not in output
        assert EXTERNAL_ID not in output

    down = lab.play(tags="teardown")
    print("down:", cloud.state(LAB))
    assert down.returncode == 0, down.stdout
    assert cloud.state(LAB) == NOTHING
    assert not (lab.state / "ssh").exists()
    assert lab.play(tags="teardown").returncode == 0
    print("down again:", cloud.state(LAB), "another lab:", cloud.state(OTHER))
    assert cloud.state(OTHER) == others
    assert cloud.client("ec2").describe_vpcs(VpcIds=[bystander["Vpc"]["VpcId"]])["Vpcs"]

    asked = {call for call in cloud.calls if not call.startswith("sts:")}
    assert asked - OPTIONAL == allowed() - {"ec2:CreateTags"}  # no call: it is part of each Create


def check_instances(cloud: Cloud, lab: Lab) -> None:
    ec2 = cloud.client("ec2")
    found = ec2.describe_instances(Filters=[{"Name": "tag:socklab.lab", "Values": [LAB]}])
    instances = [one for group in found["Reservations"] for one in group["Instances"]]
    shown = {(one["InstanceType"], one["ImageId"], one["PrivateIpAddress"]) for one in instances}
    assert shown == {
        ("c7i.xlarge", "ami-x86_64-2026", "10.87.0.11"),
        ("c7i.xlarge", "ami-x86_64-2026", "10.87.0.12"),
        ("c7g.xlarge", "ami-arm64-2026", "10.87.0.13"),
    }
    for one in instances:
        options = one["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
        tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert tags.keys() == {"Name", "socklab.lab", "socklab.host"}
        known = (lab.state / "ssh/known_hosts").read_text()
        key = (lab.state / f"ssh/hosts/{tags['socklab.host']}/host_ed25519.pub").read_text()
        assert f"{one['PrivateIpAddress']} {' '.join(key.split()[:2])}\n" in known


def check_group(cloud: Cloud) -> None:
    tagged = [{"Name": "tag:socklab.lab", "Values": [LAB]}]
    (group,) = cloud.client("ec2").describe_security_groups(Filters=tagged)["SecurityGroups"]
    for rule in group["IpPermissions"]:
        addresses = [one["CidrIp"] for one in rule["IpRanges"]]
        if rule["FromPort"] == 22:
            assert (addresses, rule["UserIdGroupPairs"]) == (["198.51.100.9/32"], [])
        else:
            assert addresses == []
            assert [one["GroupId"] for one in rule["UserIdGroupPairs"]] == [group["GroupId"]]


def check_inventory(lab: Lab) -> None:
    listed = lab.listed()
    groups = {name: sorted(body.get("hosts", [])) for name, body in listed.items()}
    assert groups["arch_x86_64"] == ["cloud-1", "cloud-2"]
    assert groups["arch_aarch64"] == ["cloud-3"]
    assert groups["site_eu_central_1a"] == ["cloud-1", "cloud-2", "cloud-3"]
    assert groups["servers"] == groups["load"] == ["cloud-1"]
    server = listed["_meta"]["hostvars"]["cloud-1"]
    assert server["ansible_host"] == "10.87.0.11"
    assert "ec2_public_ip_address" in server  # the way to the hosts begins there
    shown = lab.run("python", "-m", "collector", "plan", "web")
    assert shown.returncode == 0, shown.stdout


def test_teardown_of_half_a_network_leaves_nothing(cloud: Cloud, lab: Lab) -> None:
    denied = "ec2:AttachInternetGateway"
    cloud.refuse = lambda call, body: "UnauthorizedOperation" if call == denied else None
    assert lab.play(*YES).returncode == 2
    print("half a network:", cloud.state(LAB))
    assert cloud.state(LAB) == {**NOTHING, "vpcs": 1, "subnets": 1, "gateways": 1}
    cloud.refuse = lambda asked, body: None
    down = lab.play(tags="teardown")
    assert down.returncode == 0, down.stdout
    assert cloud.state(LAB) == NOTHING


def test_nothing_starts_without_a_yes(cloud: Cloud, lab: Lab) -> None:
    done = lab.play()
    assert done.returncode == 2
    assert "Nothing was started. To start cloud-1, cloud-2, cloud-3, type yes" in done.stdout
    assert "cost of 4 h: 2.40 USD" in done.stdout
    assert cloud.state() == NOTHING


def test_nothing_starts_where_nobody_says_whence_ssh_comes(cloud: Cloud, lab: Lab) -> None:
    lab.edit("hosts.yml", ("caller: 203.0.113.7", 'caller: ""'))
    done = lab.play(*YES)
    assert done.returncode == 2
    assert "Set cloud_hosts_caller in the inventory" in done.stdout
    assert cloud.state() == NOTHING


def test_check_mode_on_a_fresh_inventory(cloud: Cloud, lab: Lab) -> None:
    done = lab.play("--check")
    assert done.returncode == 0, done.stdout
    assert cloud.state() == NOTHING
