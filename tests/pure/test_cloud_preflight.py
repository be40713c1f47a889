"""Cloud: the inventory's faults, what is refused before a call, cost, and the policy documents."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from botocore.stub import ANY, Stubber

from collector.cloud import settings as room
from collector.cloud.access import check_access, render, render_policy
from collector.cloud.errors import CloudError, CloudNotReadyError
from collector.cloud.estimate import TABLE, estimate
from collector.cloud.session import Caller, open_session
from collector.cloud.settings import Settings, parse_caller, read_settings
from collector.cloud.survey import QUOTA, survey
from collector.plan.findings import BadInputError
from collector.plan.inventory import list_inventory

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "inventories" / "cloud"
HOSTS = str(INVENTORY / "hosts.yml")
EXTERNAL_ID = "a-canary-that-nobody-may-print"


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    return list_inventory(INVENTORY / "hosts.yml")


@pytest.fixture
def change(
    listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Host variables of a copy of the example, which ``read_settings`` then reads."""
    data = copy.deepcopy(listed)
    monkeypatch.setattr(room, "list_inventory", lambda path: data)

    def set_all(**values: object) -> dict[str, Any]:
        hostvars: dict[str, Any] = data["_meta"]["hostvars"]
        for variables in hostvars.values():
            variables.update(values)
        return hostvars

    return set_all


@pytest.fixture
def settings(change: Callable[..., dict[str, Any]]) -> Settings:
    return read_settings(INVENTORY)


def refusal(**options: str) -> list[str]:
    with pytest.raises(BadInputError) as error:
        read_settings(INVENTORY, **options)
    return [str(one).removeprefix(f"{HOSTS}: ") for one in error.value.findings]


def test_the_example_is_sound(settings: Settings) -> None:
    assert [(one.host.name, one.type) for one in settings.hosts] == [
        ("cloud-1", "c7i.xlarge"),
        ("cloud-2", "c7i.xlarge"),
        ("cloud-3", "c7g.xlarge"),
    ]
    assert settings.caller is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("account", 123456789012, "Input should be a valid string, got 123456789012"),
        ("account", "1234", "String should match pattern '^[0-9]{12}$', got '1234'"),
        ("region", "Frankfurt", "String should match pattern"),
        ("zone", "eu-west-1a", "expected a zone of region eu-central-1, got 'eu-west-1a'"),
        ("subnet", "10.87.0.1/24", "10.87.0.1/24 has host bits set"),
        ("subnet", "8.8.8.0/24", "expected a private network of /16 to /28, got 8.8.8.0/24"),
        ("subnet", "10.0.0.0/8", "expected a private network of /16 to /28, got 10.0.0.0/8"),
        ("hours", 0, "Input should be greater than 0, got 0"),
        ("disk_gb", "30", "Input should be a valid integer, got '30'"),
        ("caller", "0.0.0.0/0", "expected the IPv4 address from which you come, or a network"),
        ("caller", "198.51.0.0/16", "expected the IPv4 address from which you come, or a network"),
        ("caller", "2001:db8::1", "expected the IPv4 address from which you come, or a network"),
        ("caller", "example.org", "expected the IPv4 address from which you come, or a network"),
    ],
)
def test_bad_variable_is_refused(
    change: Callable[..., dict[str, Any]], variable: str, value: object, said: str
) -> None:
    change(**{f"cloud_hosts_{variable}": value})
    (line,) = refusal()
    assert line.startswith(f"cloud_hosts_{variable}: {said}")


def test_missing_and_differing_variables_are_refused(
    change: Callable[..., dict[str, Any]],
) -> None:
    hostvars = change()
    hostvars["cloud-2"]["cloud_hosts_region"] = "eu-west-1"
    assert refusal() == ["host cloud-2: cloud_hosts_region: must be the same for all hosts"]
    for variables in hostvars.values():
        del variables["cloud_hosts_region"]
    assert refusal() == ["cloud_hosts_region: Field required"]


def test_bad_hosts_are_refused_all_at_once(change: Callable[..., dict[str, Any]]) -> None:
    hostvars = change()
    hostvars["cloud-1"]["cloud_hosts_type"] = "c7i"
    hostvars["cloud-2"]["ansible_host"] = "10.87.0.3"
    hostvars["cloud-3"]["ansible_host"] = "10.87.0.11"
    assert refusal() == [
        "host cloud-1: cloud_hosts_type: expected an instance type such as c7g.xlarge, got 'c7i'",
        "host cloud-2: ansible_host: expected an address of 10.87.0.0/24, without its first 4 and "
        "its last, got '10.87.0.3'",
        "host cloud-3: ansible_host: 10.87.0.11 is that of cloud-1 too",
    ]


def test_inventory_without_cloud_hosts_is_refused(change: Callable[..., dict[str, Any]]) -> None:
    change(lab_kind="bare-metal")
    assert refusal() == ["no host with lab_kind cloud; is this the folder of a cloud inventory?"]


def test_plugin_that_looks_elsewhere_is_refused(
    change: Callable[..., dict[str, Any]],
) -> None:
    change(lab_id="mine", cloud_hosts_region="eu-west-1", cloud_hosts_zone="eu-west-1b")
    assert [re.sub(r".*aws_ec2.yml:", "", line) for line in refusal()] == [
        "5:1: regions: expected [eu-west-1], the region of hosts.yml, got ['eu-central-1']",
        "7:3: filters.tag:socklab.lab: expected mine, the lab_id of hosts.yml, got 'cloud'",
    ]


def test_caller_may_be_told_later(change: Callable[..., dict[str, Any]]) -> None:
    change()
    assert str(read_settings(INVENTORY, "203.0.113.7").caller) == "203.0.113.7/32"
    assert str(parse_caller("203.0.113.0/24")) == "203.0.113.0/24"


# Cost


def test_estimate_of_the_example(settings: Settings) -> None:
    found = estimate(settings)
    disk = 30 * 0.0952 / 730
    assert found.hourly["cloud-1"] == pytest.approx(0.2037 + 0.005 + disk)
    assert found.hourly["cloud-3"] == pytest.approx(0.1649 + 0.005 + disk)
    assert found.line(4).startswith(
        "cost of 4 h: 2.40 USD (0.599 USD an hour); list prices of 2025"
    )


def test_unknown_price_stays_unknown(settings: Settings) -> None:
    one, *rest = settings.hosts
    strange = replace(settings, hosts=(replace(one, type="c9z.xlarge"), *rest))
    assert estimate(strange).hourly["cloud-1"] is None
    assert "at least 1.55 USD (0.386 USD an hour), unknown for cloud-1;" in estimate(strange).line(
        4
    )
    nowhere = estimate(replace(settings, region="mx-central-1"))
    assert set(nowhere.hourly.values()) == {None}
    assert nowhere.line(4).startswith("cost of 4 h: unknown; list prices")


def test_table_is_dated_and_priced() -> None:
    import tomllib

    table = tomllib.loads(TABLE.read_text())
    assert isinstance(table["date"], date)
    assert table["source"]
    prices = [price for region in table["host_hour"].values() for price in region.values()]
    assert min(prices) > 0
    assert table["host_hour"].keys() == table["disk_gb_month"].keys()


# What EC2 is asked, and what is refused before it is


class Stubbed(Session):
    """A session whose clients answer from Stubbers, one a service."""

    def __init__(self) -> None:
        super().__init__()
        self.set_credentials("ATEST", "secret")
        self.made: dict[str, Any] = {}
        self.stubs: dict[str, Stubber] = {}

    def stub(self, service: str) -> Stubber:
        self.made[service] = super().create_client(service, region_name="eu-central-1")
        self.stubs[service] = Stubber(self.made[service])
        self.stubs[service].activate()
        return self.stubs[service]

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        return self.made[service_name]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stubbed]:
    (tmp_path / "config").write_text(f"[default]\nexternal_id = {EXTERNAL_ID}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    session = Stubbed()
    yield session
    for stub in session.stubs.values():
        stub.assert_no_pending_responses()


def kind(name: str, arch: str = "x86_64", vcpus: int = 4) -> dict[str, Any]:
    return {
        "InstanceType": name,
        "ProcessorInfo": {"SupportedArchitectures": [arch]},
        "VCpuInfo": {"DefaultVCpus": vcpus},
    }


def image(arch: str) -> dict[str, Any]:
    return {
        "ImageId": f"ami-{arch}",
        "Name": f"debian-12-{arch}-20260101-1",
        "RootDeviceName": "/dev/xvda",
        "CreationDate": "2026-01-01T00:00:00.000Z",
    }


def instance(name: str, type_: str, state: str = "running", **more: Any) -> dict[str, Any]:
    """As the example wants it: cloud-2 has the address that ends with 12."""
    return {
        "InstanceId": f"i-{name}",
        "InstanceType": type_,
        "PrivateIpAddress": f"10.87.0.1{name[-1]}",
        "State": {"Name": state},
        "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2},
        "Tags": [{"Key": "socklab.host", "Value": name}],
        **more,
    }


@contextmanager
def ec2(
    session: Stubbed,
    *,
    types: list[dict[str, Any]] | None = None,
    images: tuple[str, ...] = ("amd64", "arm64"),
    ours: list[dict[str, Any]] | None = None,
    everybodys: list[dict[str, Any]] | None = None,
    subnets: tuple[dict[str, str], ...] = (),
    quota: float | None = 64,
) -> Iterator[Caller]:
    """What EC2 and Service Quotas say."""
    types = [kind("c7i.xlarge"), kind("c7g.xlarge", "arm64")] if types is None else types
    stub = session.stub("ec2")
    offers = [{"InstanceType": one["InstanceType"]} for one in types]
    stub.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": offers})
    if types:
        stub.add_response("describe_instance_types", {"InstanceTypes": types})
    for arch in ("amd64", "amd64", "arm64"):
        found = [image(arch)] if arch in images else []
        stub.add_response("describe_images", {"Images": found})
    for some in (ours, everybodys):
        stub.add_response("describe_instances", {"Reservations": [{"Instances": some or []}]})
    tagged = {"Filters": [{"Name": "tag:socklab.lab", "Values": ["cloud"]}]}
    stub.add_response("describe_subnets", {"Subnets": list(subnets)}, tagged)
    quotas = session.stub("service-quotas")
    if quota is None:
        quotas.add_client_error("get_service_quota", "NoSuchResourceException")
    else:
        quotas.add_response(
            "get_service_quota",
            {"Quota": {"Value": quota}},
            {"ServiceCode": "ec2", "QuotaCode": QUOTA},
        )
    yield Caller(session, "eu-central-1", EXTERNAL_ID)


def reasons(caller: Caller, settings: Settings) -> list[str]:
    with pytest.raises(CloudError) as error:
        survey(caller, settings)
    assert error.value.code == 1
    return str(error.value).splitlines()


def test_survey_of_an_empty_account(session: Stubbed, settings: Settings) -> None:
    with ec2(session, everybodys=[instance("x", "c5.large")]) as caller:
        found = survey(caller, settings)
    assert found.missing(settings) == ["cloud-1", "cloud-2", "cloud-3"]
    assert (found.used, found.quota) == (4, 64)
    assert found.images["aarch64"].id == "ami-arm64"


def test_only_what_is_missing_would_be_started(session: Stubbed, settings: Settings) -> None:
    ours = [instance("cloud-1", "c7i.xlarge"), instance("cloud-3", "c7g.xlarge", "pending")]
    with ec2(session, ours=ours, everybodys=ours, quota=12) as caller:
        assert survey(caller, settings).missing(settings) == ["cloud-2"]


def test_quota_too_small(session: Stubbed, settings: Settings) -> None:
    with ec2(session, everybodys=[instance("x", "m5.xlarge")], quota=15) as caller:
        assert reasons(caller, settings) == [
            f"quota: 12 vCPUs are wanted, and 4 of 15 are in use in eu-central-1; ask AWS to raise "
            f"quota {QUOTA}, or take smaller types"
        ]


def test_quota_that_nobody_knows_refuses_nothing(session: Stubbed, settings: Settings) -> None:
    with ec2(session, quota=None) as caller:
        assert survey(caller, settings).quota is None


def test_spot_stopped_and_other_families_do_not_use_the_quota(
    session: Stubbed, settings: Settings
) -> None:
    everybodys = [
        instance("a", "c5.large", InstanceLifecycle="spot"),
        instance("b", "c5.large", "stopped"),
        instance("c", "g5.large"),
    ]
    with ec2(session, everybodys=everybodys, quota=12) as caller:
        assert survey(caller, settings).used == 0


def test_type_of_another_architecture(session: Stubbed, settings: Settings) -> None:
    types = [kind("c7i.xlarge", "arm64"), kind("c7g.xlarge", "arm64", 2)]
    with ec2(session, types=types) as caller:
        said = reasons(caller, settings)
    assert said[0] == (
        "cloud-1: c7i.xlarge is arm64, and the host's lab_arch is x86_64: its image would not "
        "start; change one of the two"
    )
    assert said[-1] == "cloud-3: c7g.xlarge has the CPUs 0 to 1, and lab_cpus names 3"


def test_type_that_the_zone_does_not_offer(session: Stubbed, settings: Settings) -> None:
    with ec2(session, types=[kind("c7i.xlarge")]) as caller:
        assert reasons(caller, settings) == [
            "cloud-3: c7g.xlarge is not offered in eu-central-1a; take another type or zone"
        ]


def test_image_missing_for_one_architecture(session: Stubbed, settings: Settings) -> None:
    with ec2(session, images=("amd64",)) as caller:
        assert reasons(caller, settings) == [
            "no image debian-12-arm64-* of owner 136693071363 for aarch64 in eu-central-1; take "
            "another region, or leave out hosts of aarch64"
        ]


def test_instances_that_the_inventory_does_not_want(session: Stubbed, settings: Settings) -> None:
    ours = [
        instance("cloud-1", "m7i.xlarge"),
        instance("cloud-2", "c7i.xlarge", "stopped"),
        instance("cloud-3", "c7g.xlarge"),
        instance("cloud-3", "c7g.xlarge"),
        instance("cloud-4", "c7i.xlarge"),
    ]
    with ec2(session, ours=ours) as caller:
        assert reasons(caller, settings) == [
            "cloud-1 (i-cloud-1) is m7i.xlarge, and the inventory wants c7i.xlarge; make teardown, "
            "or write what it is",
            "cloud-2 (i-cloud-2) is stopped; start it in EC2 once it is stopped, or make teardown",
            "cloud-3 (i-cloud-3) exists twice in this lab; make teardown",
            "cloud-4 (i-cloud-4) is of this lab and not in the inventory; put it back, or make "
            "teardown",
        ]


def subnet(cidr: str = "10.87.0.0/24", zone: str = "eu-central-1a") -> dict[str, str]:
    return {"SubnetId": "subnet-1", "CidrBlock": cidr, "AvailabilityZone": zone}


def test_hosts_that_are_elsewhere_than_the_inventory_says(
    session: Stubbed, settings: Settings
) -> None:
    """Else a second network is made beside theirs, and nobody waits where they answer."""
    ours = [
        instance("cloud-1", "c7i.xlarge"),
        instance("cloud-2", "c7i.xlarge", PrivateIpAddress="10.86.0.12"),
    ]
    with ec2(session, ours=ours, subnets=(subnet("10.86.0.0/24"),)) as caller:
        assert reasons(caller, settings) == [
            "cloud-2 (i-cloud-2) has the address 10.86.0.12, and the inventory wants 10.87.0.12; "
            "put the address back, or make teardown first",
            "the lab's network (subnet-1) is 10.86.0.0/24 in eu-central-1a, and the inventory "
            "wants 10.87.0.0/24 in eu-central-1a; put it back, or make teardown first",
        ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (subnet("10.87.0.0/25"), "10.87.0.0/25 in eu-central-1a"),
        (subnet(zone="eu-central-1b"), "10.87.0.0/24 in eu-central-1b"),
    ],
)
def test_a_network_of_which_no_address_tells(
    session: Stubbed, settings: Settings, found: dict[str, str], said: str
) -> None:
    with ec2(session, subnets=(found,)) as caller:
        (line,) = reasons(caller, settings)
    assert line.startswith(f"the lab's network (subnet-1) is {said}, and the inventory wants ")


def test_the_network_that_is_wanted_refuses_nothing(session: Stubbed, settings: Settings) -> None:
    ours = [instance("cloud-1", "c7i.xlarge")]
    with ec2(session, ours=ours, subnets=(subnet(),)) as caller:
        assert survey(caller, settings).missing(settings) == ["cloud-2", "cloud-3"]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDeniedException"])
def test_denied_look_is_one_line(session: Stubbed, settings: Settings, code: str) -> None:
    stub = session.stub("ec2")
    stub.add_client_error("describe_instance_type_offerings", code)
    session.stub("service-quotas")
    assert reasons(Caller(session, "eu-central-1", EXTERNAL_ID), settings) == [
        "AWS refuses DescribeInstanceTypeOfferings; the role's policy is not "
        "roles/cloud_hosts/files/policy.json"
    ]


# Who asks


def identity(arn: str, account: str = "000000000000") -> dict[str, str]:
    return {"Account": account, "Arn": arn, "UserId": "AROA"}


def test_session_of_the_role(session: Stubbed, settings: Settings) -> None:
    arn = "arn:aws:sts::000000000000:assumed-role/socklab/botocore-session-1"
    session.stub("sts").add_response("get_caller_identity", identity(arn))
    assert open_session(settings, session).external_id == EXTERNAL_ID


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredTokenException", "the AWS credentials have expired (GetCallerIdentity)"),
        ("InvalidClientTokenId", "AWS does not know these credentials (InvalidClientTokenId)"),
    ],
)
def test_credentials_that_are_no_good(
    session: Stubbed, settings: Settings, code: str, said: str
) -> None:
    session.stub("sts").add_client_error("get_caller_identity", code)
    with pytest.raises(CloudNotReadyError, match=re.escape(said)) as error:
        open_session(settings, session)
    assert error.value.code == 3


@pytest.mark.parametrize(
    ("arn", "account", "said"),
    [
        ("arn:aws:sts::1:assumed-role/socklab/x", "111111111111", "of account 111111111111"),
        ("arn:aws:iam::000000000000:user/you", "000000000000", "not the role socklab"),
        ("arn:aws:sts::000000000000:assumed-role/admin/x", "000000000000", "not the role socklab"),
    ],
)
def test_somebody_else(
    session: Stubbed, settings: Settings, arn: str, account: str, said: str
) -> None:
    session.stub("sts").add_response("get_caller_identity", identity(arn, account))
    with pytest.raises(CloudNotReadyError, match=said):
        open_session(settings, session)


def role(settings: Settings, **changes: Any) -> dict[str, Any]:
    trust = render(
        "trust.json",
        {"PRINCIPAL_ARN": "arn:aws:iam::000000000000:user/you", "EXTERNAL_ID": EXTERNAL_ID},
    )
    return {
        "Path": "/",
        "RoleName": settings.role,
        "RoleId": "AROAEXAMPLEEXAMPLE",
        "Arn": "arn:aws:iam::000000000000:role/socklab",
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
        "AssumeRolePolicyDocument": trust,
        "MaxSessionDuration": 3600,
        **changes,
    }


def iam(session: Stubbed, found: dict[str, Any], policy: Any) -> Caller:
    # IAM sends documents as text, which the service model says; botocore decodes them afterwards.
    stub = session.stub("iam")
    document = json.dumps(found["AssumeRolePolicyDocument"])
    stub.add_response("get_role", {"Role": {**found, "AssumeRolePolicyDocument": document}})
    stub.add_response("list_role_policies", {"PolicyNames": ["socklab"]})
    stub.add_response("list_attached_role_policies", {"AttachedPolicies": []})
    answer = {"RoleName": "x", "PolicyName": "socklab", "PolicyDocument": json.dumps(policy)}
    stub.add_response("get_role_policy", answer, {"RoleName": ANY, "PolicyName": "socklab"})
    return Caller(session, "eu-central-1", EXTERNAL_ID)


def test_role_as_shipped_holds(session: Stubbed, settings: Settings) -> None:
    check_access(iam(session, role(settings), render_policy(settings)), settings)


def test_role_without_its_conditions_does_not(session: Stubbed, settings: Settings) -> None:
    policy = render_policy(settings)
    for statement in policy["Statement"]:
        statement.pop("Condition", None)
    found = role(settings)
    del found["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    with pytest.raises(CloudError) as error:
        check_access(iam(session, found, policy), settings)
    lines = str(error.value).splitlines()
    assert [line.partition(" is not")[0] for line in lines] == [
        "role socklab: its trust policy",
        "role socklab: its policy socklab",
    ]
    assert EXTERNAL_ID not in str(error.value)


# The documents


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (ROOT / "roles/cloud_hosts/files/policy.json").read_text()
    )["Statement"]
    return found


def listed_in(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_policy_allows_named_actions_alone() -> None:
    for one in statements():
        assert one["Effect"] == "Allow"
        assert "NotAction" not in one
        assert "NotResource" not in one
        for action in listed_in(one["Action"]):
            assert re.fullmatch(r"(ec2|iam|servicequotas):[A-Z][A-Za-z]+", action)


def test_policy_binds_to_a_region_what_cannot_be_narrowed() -> None:
    everything = [one for one in statements() if "*" in listed_in(one["Resource"])]
    assert [one["Sid"] for one in everything] == ["LookAround"]
    for one in everything:
        # EC2 gives these no resource, so "*" is the only one that works.
        assert all(re.match(r"ec2:Describe", action) for action in listed_in(one["Action"]))
        assert one["Condition"] == {"StringEquals": {"aws:RequestedRegion": "REGION"}}


def test_policy_binds_to_the_labs_tag_what_makes_changes_and_removes() -> None:
    untagged = {"LookAround", "ReadTheQuota", "ReadThisRole"}
    # An image is somebody else's; the module tags no interface, which goes with its instance.
    untagged |= {"FromTheImagesOfOneOwner", "GiveThemAnInterface"}
    for one in statements():
        resources = listed_in(one["Resource"])
        if one["Sid"] in untagged:
            continue
        keys = {"aws:RequestTag/socklab.lab", "aws:ResourceTag/socklab.lab"}
        assert len(keys & one["Condition"]["StringEquals"].keys()) == 1, one["Sid"]
        for name in resources:
            assert re.fullmatch(r"arn:aws:ec2:REGION:ACCOUNT_ID:[a-z-]+/\*", name)


def test_policy_names_what_carries_no_tag_of_the_lab() -> None:
    rest = {one["Sid"]: one for one in statements()}
    assert rest["FromTheImagesOfOneOwner"]["Condition"] == {
        "StringEquals": {"ec2:Owner": "IMAGE_OWNER"}
    }
    assert listed_in(rest["GiveThemAnInterface"]["Action"]) == ["ec2:RunInstances"]
    for sid in ("ReadTheQuota", "ReadThisRole"):
        assert "*" not in rest[sid]["Resource"]


def test_tags_cannot_be_put_on_what_exists() -> None:
    (one,) = [one for one in statements() if "ec2:CreateTags" in listed_in(one["Action"])]
    assert one["Condition"]["StringEquals"]["ec2:CreateAction"]


def test_trust_asks_for_the_external_id() -> None:
    trust = json.loads((ROOT / "roles/cloud_hosts/files/trust.json").read_text())
    (one,) = trust["Statement"]
    assert one["Action"] == "sts:AssumeRole"
    assert one["Principal"] == {"AWS": "PRINCIPAL_ARN"}
    assert one["Condition"] == {"StringEquals": {"sts:ExternalId": "EXTERNAL_ID"}}


def test_rendered_documents_have_no_placeholder_left(settings: Settings) -> None:
    assert not re.search(r"[A-Z]+_[A-Z]+|REGION", json.dumps(render_policy(settings)))
