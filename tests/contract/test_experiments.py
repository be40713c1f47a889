"""Every committed experiment passes every rule on the local inventory, with its real job files."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.plan.experiment import Experiment, load_experiment
from collector.plan.inventory import Inventory, load_inventory
from collector.plan.pairing import pair_hosts
from collector.plan.peaks import Peaks
from collector.plan.plan import cross_variants, estimate, file_embeds, make_plan
from collector.plan.rules import check

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yml"))
# What jobs/web.nomad.hcl calls the ways between proxy and application.
WEB_PATHS = {
    "tcp-loopback",
    "sharedvolume",
    "combined",
    "combined-bridge",
    "tcp-bridge",
    "sharedvolume-bridge",
    "tcp-published",
    "tcp-discovered",
}


def measured(experiment: Experiment, inventory: Inventory) -> Peaks:
    """Peaks of every arm, as if the experiments that an open loop names had been measured."""
    return {
        (load.of_peak.experiment, pair.host.name, "", variant, arm): 9000.0
        for load in experiment.spec.load
        if load.of_peak
        for pair in pair_hosts(experiment, inventory)
        for variant in cross_variants(experiment.spec.cross)
        for arm in experiment.spec.arms
    }


def test_there_are_experiments() -> None:
    assert {"web", "web-full", "web-published", "web-tls"} <= {path.stem for path in EXPERIMENTS}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_no_rule_complains(path: Path) -> None:
    experiment = load_experiment(path)
    inventory = load_inventory(ROOT / "inventories/local")
    about_machine = "inventory: lab_cpus"  # a machine of one CPU has none to set apart
    found = check(experiment, inventory, ROOT)
    assert [str(finding) for finding in found if finding.where != about_machine] == []
    assert pair_hosts(experiment, inventory)
    plan = make_plan(
        experiment,
        inventory,
        seed=1,
        campaign=f"{experiment.name}-test",
        embeds=file_embeds(path, ROOT),
        peaks=measured(experiment, inventory),
    )
    assert estimate(plan).blocks_cap == len(plan.blocks) > 0


def test_every_web_topology_is_tried_on_the_other_architecture() -> None:
    """As docs/architectures.md says; by tests/lab/test_other_architecture.py."""
    specs = [
        load_experiment(ROOT / f"tests/lab/experiments/{name}.yml").spec
        for name in ("both-all", "both-combined")
    ]
    assert all(spec.emulated for spec in specs)
    assert {arm.variables["path"] for spec in specs for arm in spec.arms.values()} == WEB_PATHS


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_question_is_one_sentence(path: Path) -> None:
    question = load_experiment(path).spec.question
    assert question.endswith("?")
    assert question.count("?") == 1
    assert len(question) < 200


@pytest.mark.parametrize(
    "name", ["web", "web-full", "web-open", "web-precise", "web-published", "web-tls"]
)
def test_web_arms_are_called_after_their_path(name: str) -> None:
    spec = load_experiment(ROOT / f"experiments/{name}.yml").spec
    for arm, body in spec.arms.items():
        assert body.variables["path"] == arm
        assert arm in WEB_PATHS
        assert (body.also_differs is not None) == arm.startswith("combined")


def test_published_arms_share_their_network_mode() -> None:
    spec = load_experiment(ROOT / "experiments/web-published.yml").spec
    assert spec.baseline == "tcp-bridge"
    assert set(spec.arms) == {"tcp-bridge", "sharedvolume-bridge", "combined-bridge"}
    (load,) = spec.load
    assert (load.tool, load.concurrency, load.requests, load.keepalive) == ("ab", [1], 1000, False)
    assert spec.variables["keepalive"] is False
