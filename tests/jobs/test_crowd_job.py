"""``jobs/crowd.nomad.hcl``: as many as are asked for, each with the network that is asked for."""

from __future__ import annotations

from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

JOB: Final = ROOT / "jobs" / "crowd.nomad.hcl"
GIVEN: Final = nomadjob.images("ipc")


def group(**variables: object) -> dict[str, Any]:
    (found,) = nomadjob.render(JOB, {**GIVEN, **variables})["TaskGroups"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("network", "mode", "of_group"),
    [
        ("none", "none", None), ("host", "host", None), ("bridge", "socklab", None),
        ("published", "socklab", "host"), ("group", "", "bridge"),
    ],
)  # fmt: skip
def test_each_container_has_the_network(network: str, mode: str, of_group: str | None) -> None:
    crowd = group(network=network, containers=100)
    assert crowd["Count"] == 100
    (task,) = crowd["Tasks"]
    assert task["Config"]["network_mode"] == mode
    assert [one["Mode"] for one in crowd["Networks"] or []] == ([of_group] if of_group else [])
    assert task["Config"]["ports"] == (["http"] if network == "published" else [])
    assert (task["Config"]["cap_drop"], task["Config"]["readonly_rootfs"]) == (["all"], True)
    assert (crowd["RestartPolicy"]["Attempts"], crowd["ReschedulePolicy"]["Attempts"]) == (0, 0)


@pytest.mark.parametrize(("name", "value"), [("containers", 0), ("network", "macvlan")])
def test_anything_else_is_refused(name: str, value: object) -> None:
    refused = nomadjob.attempt(JOB, (), {**GIVEN, name: value})
    assert refused.returncode != 0
    assert f"{name} must be" in refused.stdout
