"""An emulated host of the other architecture in the same cluster: what holds there too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ARCH, ROOT, Lab, guest
from test_measure import MINE, header, parts_of_hosts, rows

GUEST = {"aarch64": "lab-arm", "x86_64": "lab-x86"}[ARCH]


@pytest.fixture(scope="module")
def both(lab: Lab, joining: Callable[[], None]) -> Lab:
    """The lab with one emulated host more. It stays: these tests come last."""
    lab.environment["SOCKLAB_ARCHS"] = ARCH
    joining()
    return lab


@pytest.fixture
def spanning(tmp_path: Path) -> str:
    """The experiment whose far end is the emulated host, whichever architecture that is of."""
    text = (ROOT / MINE / "mesh-both.yml").read_text()
    (tmp_path / "mesh-both.yml").write_text(text.replace("arch_aarch64", f"arch_{ARCH}"))
    return str(tmp_path / "mesh-both.yml")


def on_guest(lab: Lab, *argv: str) -> str:
    return lab.run(*guest(lab), *argv).stdout


def test_it_is_a_machine_of_its_own(both: Lab) -> None:
    assert on_guest(both, "uname", "-m").strip() == ARCH
    assert on_guest(both, "systemctl", "is-system-running").strip() == "running"
    assert on_guest(both, "stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    listed = both.run("nomad", "node", "status", "-json", client=True).stdout
    (node,) = [one["ID"] for one in json.loads(listed) if one["Name"] == GUEST]
    shown = both.run("nomad", "node", "status", "-json", node, client=True).stdout
    meta = json.loads(shown)["Meta"]
    assert (meta["arch"], meta["emulated"]) == (ARCH, "true")


# Pulling an image there takes minutes: those of every topology are for a long test.
@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("both", 2),
        pytest.param("both-all", 7, marks=pytest.mark.long),
        pytest.param("both-combined", 2, marks=pytest.mark.long),
    ],
)
def test_topologies_answer_on_either_and_one_stands_still_for_the_other(
    both: Lab, name: str, arms: int
) -> None:
    both.collector("measure", str(MINE / f"{name}.yml"), "--events", "plain", timeout=1200)
    done = both.collector("collect", "--state", str(both.state)).stdout
    (campaign,) = (one for one in both.campaigns(name) if one.name[len(name) + 1].isdigit())
    (line,) = [one for one in done.splitlines() if one.startswith(campaign.name)]
    assert " 0 quarantined + 0 missing" in line
    found = {(one["host"], one["path"]): one for one in rows(both, "runs", campaign.name)}
    assert len(found) == 2 * arms
    assert all(one["requests"] > 0 and one["errors_status"] == 0 for one in found.values())
    assert {one["emulated"] for (host, _), one in found.items() if host == GUEST} == {True}
    # Its kernel has control groups of version 2, which count block I/O too.
    (whole, *_) = parts_of_hosts(both, campaign.name, GUEST)
    assert whole["read_bytes"] is not None
    assert header(campaign, 1)["host"] == "lab-2"
    assert header(campaign, 1)["guests"] == {GUEST: "paused"}
    assert header(campaign, 2)["guests"] == {GUEST: "running"}
    assert on_guest(both, "uname", "-m").strip() == ARCH, "it goes on afterwards"


def test_a_clock_that_is_an_hour_off_is_refused(both: Lab, spanning: str) -> None:
    """Only an emulated machine has a clock of its own to set."""
    on_guest(both, "date", "--set=+1hour")
    try:
        done = both.collector("measure", spanning, "--events", "plain", check=False)
    finally:
        on_guest(both, "date", "--set=-1hour")
    assert done.returncode == 3
    said = rf"{GUEST}: its clock is 3[56]\d\d\.\d s ahead of the controller's"
    assert re.search(said, done.stdout)


@pytest.mark.long
def test_a_mesh_spans_both(both: Lab, spanning: str) -> None:
    """A client on a host of one architecture, on the other's a database; neither has a network."""
    both.collector("measure", spanning, "--events", "plain", timeout=1200)
    (campaign,) = both.campaigns("mesh-both")
    proofs = json.loads((campaign / "proofs.json").read_text())["proofs"]
    assert all(one["passed"] for one in proofs), proofs
    both.collector("collect", "--state", str(both.state))
    found = rows(both, "runs", campaign.name)
    assert {one["arm"] for one in found} == {"tcp", "mesh-unix"}
    for run in found:
        assert (run["host"], run["peer"], run["emulated"]) == ("lab-2", GUEST, True)
        assert run["requests"] > 0
        assert run["errors_ignored"] == 0
