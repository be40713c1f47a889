"""In which order a block's arms are registered, and when they are waited for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.campaign.deployment import Deployer, Order, Place, ends_of, orders
from collector.campaign.errors import UsageError
from collector.plan.experiment import parse_experiment
from collector.plan.inventory import parse_inventory
from collector.plan.plan import Plan, make_plan

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
    deployer.deploy(wanted, Place("lab-2", "198.18.0.12", (1,), None, None, patience), said.append)
    assert (cluster.asked, said) == (asked, told)


def test_a_value_that_a_job_refuses_is_told_with_what_was_said_before_anything_is_deployed(
    tmp_path: Path,
) -> None:
    class Refusing(Cluster):
        def render(self, path: Path, variables: Any) -> dict[str, Any]:
            if variables.get("services") == 3:
                raise UsageError(f"{path.name}: The number of services must be 1, 2, 4 or 8.")
            return JOB

    (tmp_path / "x.nomad.hcl").write_text('variable "image_app" {\n}\n')
    cluster = Refusing()
    fixed = {"image_app": "app@sha256:0"}
    deployer = Deployer(cluster, None, tmp_path, fixed, tmp_path)  # type: ignore[arg-type]
    place = Place("lab-2", "198.18.0.12", (1,), None, None)

    def asked(services: int) -> list[Order]:
        return [Order("unix/a", "unix", "a", "x.nomad.hcl", {"services": services})]

    deployer.prepare(asked(4), place)
    with pytest.raises(UsageError) as refused:
        deployer.prepare(asked(3), place)
    words = "x.nomad.hcl: The number of services must be 1, 2, 4 or 8."
    said = f"the job file refuses arm unix with services=3: {words}"
    assert str(refused.value) == said
    assert cluster.asked == []


def test_the_ends_of_a_mesh_are_its_sidecars_in_the_jobs_order() -> None:
    def group(*tasks: str) -> dict[str, Any]:
        return {"Name": tasks[-1], "Tasks": [{"Name": name} for name in tasks]}

    pair = [group("sidecar-client", "proxy"), group("sidecar-server", "app")]
    assert ends_of({"TaskGroups": pair}) == ["client", "server"]
    chain = [group("sidecar-service-0", "sidecar-service-1", "service-0", "service-1")]
    assert ends_of({"TaskGroups": chain}) == ["service-0", "service-1"]
    assert ends_of(JOB) == []


def test_a_programs_words_are_filled_with_its_variables() -> None:
    text = """\
question: What does it cost in no container?
factor: mechanism
baseline: tcp
arms:
  tcp:
    program: [ipc, "{mechanism}", "{dir}", "--latency={bytes}", "same:{host_cpus}"]
    variables: {mechanism: tcp}
  deployed: {job: jobs/ipc.nomad.hcl, variables: {mechanism: tcp}}
cross: {bytes: [64, 4096]}
load: [{tool: ipc, concurrency: [1]}]
profile: quick
blocks: 1
"""
    listing = (Path(__file__).parents[1] / "fixtures/plan/inventory.json").read_text()
    plan = make_plan(
        parse_experiment(text.encode(), "x"), parse_inventory(json.loads(listing)),
        seed=1, campaign="x", embeds={},
    )  # fmt: skip
    plan = Plan.from_json(plan.to_json())
    for block in plan.blocks:
        size = plan.variants[block.variant]["bytes"]
        cpus = ",".join(map(str, plan.hosts[block.host].cpus))
        found = {one.key: (one.job, one.program) for one in orders(plan, block)}
        words = ("ipc", "tcp", "{dir}", f"--latency={size}", f"same:{cpus}")
        assert found["tcp/a"] == found["tcp/b"] == (None, words)
        assert found["deployed/a"] == ("jobs/ipc.nomad.hcl", ())
