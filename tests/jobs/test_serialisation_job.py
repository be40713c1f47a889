"""``jobs/serialisation.nomad.hcl``: both ends speak the same format at the same address."""

from __future__ import annotations

from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "serialisation.nomad.hcl"
GIVEN: Final = nomadjob.images("serialisation")


def tasks(**variables: object) -> dict[str, dict[str, Any]]:
    (group,) = nomadjob.render(JOB, {**GIVEN, **variables})["TaskGroups"]
    return {task["Name"]: task for task in group["Tasks"]}


@pytest.mark.parametrize(
    ("transport", "address", "network"),
    [
        ("unix", "unix:/alloc/tmp/messages.sock", "none"),
        ("tcp", "tcp:127.0.0.1:9000", "container:serve-${NOMAD_ALLOC_ID}"),
    ],
)
def test_both_ends_meet_at_one_address(transport: str, address: str, network: str) -> None:
    found = tasks(format="msgpack", transport=transport, bytes="100,4096")
    assert found["serve"]["Config"]["args"] == ["serve", "msgpack", address]
    assert found["serve"]["Config"]["network_mode"] == "none"
    assert found["load"]["Config"]["network_mode"] == network
    files = {one["DestPath"]: one["EmbeddedTmpl"] for one in found["load"]["Templates"]}
    asked = f"messages.py measure msgpack {address} --bytes"
    assert f'{asked} 100,4096 "$@"' in files["local/load"]
    assert f"{asked} 100 --time 0.05" in files["local/ready"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("format", "xml"), ("transport", "udp"), ("bytes", "100;reboot"), ("bytes", "")],
)
def test_anything_else_is_refused(name: str, value: str) -> None:
    refused = nomadjob.attempt(JOB, (), {**GIVEN, "format": "json", name: value})
    assert refused.returncode != 0
    assert f"The {name} must be" in refused.stdout
