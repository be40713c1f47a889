"""In which order a block's arms are registered, and when they are waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collector.campaign.deployment import Deployer, Order, Place

JOB: dict[str, Any] = {"TaskGroups": [{"Name": "web", "Tasks": [{"Name": "app"}]}]}


class Cluster:
    """Remembers what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def render(self, path: Path, variables: object) -> dict[str, Any]:
        return JOB

    def register(self, identity: str, job: object) -> None:
        self.asked.append(f"register {identity}")

    def wait_running(self, identity: str, groups: list[str], patience: float) -> dict[str, Any]:
        self.asked.append(f"wait {identity}")
        return {name: {} for name in groups}


@pytest.mark.parametrize(
    ("patience", "asked", "told"),
    [
        (1.0, ["register 1", "register 2", "register 3"], []),
        # Many tasks that start at once are too much for an emulated host.
        (
            10.0,
            ["register 1", "register 2", "wait 1", "wait 2", "register 3", "wait 2", "wait 3"],
            ["2 of 3 arms run", "3 of 3 arms run"],
        ),
    ],
)
def test_arms_start_together_but_on_an_emulated_host(
    tmp_path: Path, patience: float, asked: list[str], told: list[str]
) -> None:
    (tmp_path / "x.nomad.hcl").write_text("")
    cluster = Cluster()
    deployer = Deployer(cluster, None, tmp_path, {}, tmp_path)  # type: ignore[arg-type]
    wanted = [(Order(f"{name}/a", name, "a", "x.nomad.hcl", {}), name) for name in "123"]
    said: list[str] = []
    deployer.deploy(wanted, Place("lab-2", 1, None, None, patience), said.append)
    assert (cluster.asked, said) == (asked, told)
