"""Do role, policy and external id still hold? The role is compared with the files shipped here.

The documents are compared as JSON: a statement more, a condition less, a second policy or a longer
session is a finding. External ids are compared, and never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from collector.cloud.errors import CloudError
from collector.cloud.session import Caller, plain_errors
from collector.cloud.settings import Settings

FILES: Final = Path(__file__).parents[2] / "roles" / "cloud_hosts" / "files"
POLICY: Final = "socklab"
LONGEST_SESSION_S: Final = 3600


def render(name: str, values: Mapping[str, str]) -> Any:
    """Read ``policy.json`` or ``trust.json`` with its capital placeholders filled in."""
    text = (FILES / name).read_text()
    for placeholder, value in values.items():
        text = text.replace(placeholder, json.dumps(value)[1:-1])
    return json.loads(text)


def render_policy(settings: Settings) -> Any:
    """Return the policy that the lab's role should have."""
    return render(
        "policy.json",
        {
            "ACCOUNT_ID": settings.account,
            "REGION": settings.region,
            "ROLE_NAME": settings.role,
            "LAB_ID": settings.lab_id,
            "IMAGE_OWNER": settings.image_owner,
        },
    )


def check_access(caller: Caller, settings: Settings) -> None:
    """Raise ``CloudError`` with every way in which the role is not as shipped."""
    iam = caller.client("iam")
    with plain_errors():
        role = iam.get_role(RoleName=settings.role)["Role"]
        inline = iam.list_role_policies(RoleName=settings.role)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=settings.role)["AttachedPolicies"]
        policy = None
        if POLICY in inline:
            found = iam.get_role_policy(RoleName=settings.role, PolicyName=POLICY)
            policy = found["PolicyDocument"]
    findings = [*_trust_problems(role, caller.external_id)]
    if policy is None:
        findings.append(
            f"it has no inline policy {POLICY}; put roles/cloud_hosts/files/policy.json"
        )
    elif policy != render_policy(settings):
        findings.append(
            f"its policy {POLICY} is not roles/cloud_hosts/files/policy.json for lab "
            f"{settings.lab_id}; put it again"
        )
    more = [name for name in inline if name != POLICY]
    more += [policy["PolicyName"] for policy in attached]
    if more:
        findings.append(f"it may do more than the lab needs: remove {', '.join(sorted(more))}")
    if findings:
        raise CloudError("\n".join(f"role {settings.role}: {line}" for line in findings))


def _trust_problems(role: Mapping[str, Any], external_id: str) -> Iterator[str]:
    trust = role["AssumeRolePolicyDocument"]
    principal = _principal(trust)
    if principal is None:
        yield "its trust policy lets in anybody, or more than one principal; name one"
    elif trust != render("trust.json", {"PRINCIPAL_ARN": principal, "EXTERNAL_ID": external_id}):
        yield (
            "its trust policy is not roles/cloud_hosts/files/trust.json with the profile's "
            "external id; put it again"
        )
    longest = role.get("MaxSessionDuration")
    if longest is None or longest > LONGEST_SESSION_S:
        yield f"its sessions may last {longest} s; set MaxSessionDuration to {LONGEST_SESSION_S}"


def _principal(trust: Mapping[str, Any]) -> str | None:
    """The one principal of the first statement, if it is one of an account."""
    try:
        principal = trust["Statement"][0]["Principal"]["AWS"]
    except (LookupError, TypeError):
        return None
    named = isinstance(principal, str) and principal.startswith("arn:") and "*" not in principal
    return principal if named else None
