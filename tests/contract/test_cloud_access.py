"""Who may make cloud hosts, against moto: credentials, role, external id, refusals of a plan."""

from __future__ import annotations

import json

import pytest
from cloudlab import ACCOUNT, EXTERNAL_ID, LAB, NOTHING, ROLE, YES, Cloud, Lab, shipped


def test_check_says_that_the_role_is_as_shipped(lab: Lab) -> None:
    done = lab.ask("check")
    assert done.returncode == 0, done.stdout
    assert done.stdout == (
        f"account {ACCOUNT}, role {ROLE}, lab {LAB}: policy, trust and external id are as shipped\n"
    )


def answer(lab: Lab, code: int, what: str = "check") -> str:
    done = lab.ask(what)
    assert done.returncode == code, done.stdout
    assert EXTERNAL_ID not in done.stdout
    return done.stdout


def test_credentials_absent(lab: Lab) -> None:
    del lab.environment["AWS_PROFILE"]
    assert answer(lab, 3) == (
        "no AWS credentials; docs/cloud.md#access says how to set a profile up\n"
    )


def test_credentials_of_no_profile(lab: Lab) -> None:
    lab.environment["AWS_PROFILE"] = "elsewhere"
    assert "The config profile (elsewhere) could not be found" in answer(lab, 3)


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("sts:GetCallerIdentity", "ExpiredToken", "the AWS credentials have expired"),
        ("sts:AssumeRole", "ExpiredToken", "the AWS credentials have expired (AssumeRole)"),
        ("sts:AssumeRole", "InvalidClientTokenId", "AWS does not know these credentials"),
        ("sts:AssumeRole", "AccessDenied", "AWS refuses the role: the external id of the profile"),
        ("iam:GetRole", "AccessDenied", "AWS refuses GetRole; the role's policy is not"),
    ],
)
def test_credentials_that_aws_refuses(
    cloud: Cloud, lab: Lab, call: str, code: str, said: str
) -> None:
    cloud.refuse = lambda asked, body: code if asked == call else None
    output = answer(lab, 1 if call.startswith("iam") else 3)
    assert output.startswith(said)
    assert output.count("\n") == 1


def test_credentials_of_another_account(cloud: Cloud, lab: Lab) -> None:
    lab.profile(account="999999999999")
    said = f"of account 999999999999, and the inventory's cloud_hosts_account is {ACCOUNT}"
    assert said in answer(lab, 3)
    done = lab.play(tags="teardown")
    assert done.returncode == 2
    assert "looked at, nothing removed." in " ".join(done.stdout.split())
    assert not [call for call in cloud.calls if call.startswith("ec2:Delete")]


def test_credentials_that_are_not_the_role(lab: Lab) -> None:
    lab.environment["AWS_PROFILE"] = "base"
    assert f"not the role {ROLE}: AWS_PROFILE must name its profile" in answer(lab, 3)


def test_wrong_external_id(lab: Lab) -> None:
    lab.profile(external_id="another")
    assert answer(lab, 1) == (
        f"role {ROLE}: its trust policy is not roles/cloud_hosts/files/trust.json with the "
        "profile's external id; put it again\n"
    )


def test_role_that_may_do_more(cloud: Cloud, lab: Lab) -> None:
    iam = cloud.client("iam")
    iam.put_role_policy(RoleName=ROLE, PolicyName="more", PolicyDocument=shipped("policy.json"))
    iam.put_role_policy(
        RoleName=ROLE, PolicyName="socklab", PolicyDocument=shipped("policy.json", LAB_ID="*")
    )
    iam.update_role(RoleName=ROLE, MaxSessionDuration=43200)
    trust = json.loads(shipped("trust.json"))
    trust["Statement"][0]["Principal"]["AWS"] = "*"
    iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(trust))
    assert answer(lab, 1).splitlines() == [
        f"role {ROLE}: its trust policy lets in anybody, or more than one principal; name one",
        f"role {ROLE}: its sessions may last 43200 s; set MaxSessionDuration to 3600",
        f"role {ROLE}: its policy socklab is not roles/cloud_hosts/files/policy.json for lab "
        f"{LAB}; put it again",
        f"role {ROLE}: it may do more than the lab needs: remove more",
    ]


def test_plan_refuses_what_ec2_would_refuse_half_way(cloud: Cloud, lab: Lab) -> None:
    cloud.client("ec2").deregister_image(ImageId="ami-arm64-2025")
    cloud.client("ec2").deregister_image(ImageId="ami-arm64-2026")
    lab.edit(
        "hosts.yml",
        ("lab_arch: x86_64\n          # CPU", "lab_arch: aarch64\n          # CPU"),
        ("cloud_hosts_type: c7g.xlarge", "cloud_hosts_type: c7g.large"),
    )
    assert answer(lab, 1, "plan").splitlines() == [
        "cloud-2: c7i.xlarge is x86_64, and the host's lab_arch is aarch64: its image would not "
        "start; change one of the two",
        "cloud-3: c7g.large has the CPUs 0 to 1, and lab_cpus names 3",
        f"no image debian-12-arm64-* of owner {ACCOUNT} for aarch64 in eu-central-1; take another "
        "region, or leave out hosts of aarch64",
    ]
    assert lab.play(*YES).returncode == 2
    assert cloud.state() == NOTHING
