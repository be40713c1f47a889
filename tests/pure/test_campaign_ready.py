"""What a campaign refuses to begin with: images of another architecture, a host's wrong clock."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from collector.campaign.commands import VAR_FILES, images_used, read_images, refuse_unbuilt
from collector.campaign.deployment import Order
from collector.campaign.engine import Engine, refuse_clock
from collector.campaign.errors import (
    BlockFailed,
    CampaignError,
    Declined,
    NoRoom,
    NotReadyError,
    UsageError,
)  # fmt: skip
from collector.campaign.folder import can_go_on, create
from collector.campaign.reach import Reach
from collector.plan.experiment import parse_experiment
from collector.plan.inventory import parse_inventory
from collector.plan.plan import Plan, make_plan

ROOT = Path(__file__).parents[1] / "fixtures/plan"
DIGEST = f"sha256:{'0' * 64}"


def plan_with(hosts: str = "") -> Plan:
    text = (ROOT / "small.yml").read_text() + hosts
    return make_plan(
        parse_experiment(text.encode(), "small"),
        parse_inventory(json.loads((ROOT / "inventory.json").read_text())),
        seed=7, campaign="small-20261121t113000-1f3a", embeds={},
    )  # fmt: skip


def write(state: Path, built: str) -> None:
    text = f'# built for: {built}\nimage_app = "198.18.0.11:5000/socklab/app@{DIGEST}"\n'
    (state / "images.hcl").write_text(text)
    for name in VAR_FILES[1:]:
        (state / f"{name}.hcl").write_text('node = "lab-2"\n')


def test_images_and_what_they_are_for(tmp_path: Path) -> None:
    write(tmp_path, "aarch64 x86_64")
    images, built = read_images(tmp_path)
    assert images == {"app": f"198.18.0.11:5000/socklab/app@{DIGEST}"}
    assert built == {"aarch64", "x86_64"}


def test_a_campaign_that_was_not_begun_does_not_stand_in_the_way_of_a_changed_one(
    tmp_path: Path,
) -> None:
    campaign, wanted = create(tmp_path, plan_with()), plan_with()
    assert can_go_on(campaign, {}, wanted)
    assert not can_go_on(campaign, {"runner": "another"}, wanted)
    campaign.begin(1, 1)
    assert can_go_on(campaign, {}, wanted)
    with pytest.raises(UsageError, match=r"cannot go on.* runner: was absent, is another"):
        can_go_on(campaign, {"runner": "another"}, wanted)


class Jobs:
    """What Nomad says of the engine's jobs."""

    def __init__(self, left: list[str] | BlockFailed) -> None:
        self._left = left

    def ours(self) -> list[str]:
        if isinstance(self._left, BlockFailed):
            raise self._left
        return self._left


@pytest.mark.parametrize(
    ("error", "left", "final"),
    [
        (NoRoom("exhausted"), [], True),
        (NoRoom("exhausted"), ["sl-that-is-still-ending"], False),
        (NoRoom("exhausted"), BlockFailed("Nomad does not answer"), False),
        (BlockFailed("a task died"), [], False),
    ],
)
def test_no_room_is_final_where_nothing_of_ours_may_yet_give_some_back(
    error: BlockFailed, left: list[str] | BlockFailed, final: bool
) -> None:
    engine = Engine.__new__(Engine)
    engine._cluster = Jobs(left)  # type: ignore[assignment]
    assert engine._is_final(error) is final


@pytest.mark.parametrize(
    ("path", "variants", "meshed"),
    [
        ("mesh", [{}], True), ("unix", [{}], False), (None, [{}], True),
        (None, [{"path": "unix"}, {"path": "tcp-loopback"}], False),
        (None, [{"path": "unix"}, {"path": "mesh"}], True),
    ],
)  # fmt: skip
def test_a_path_that_is_crossed_says_too_whether_it_leads_through_sidecars(
    path: str | None, variants: list[dict[str, str]], meshed: bool
) -> None:
    arm = Mock(job="jobs/chain.nomad.hcl", variables={"path": path} if path else {})
    engine = Engine.__new__(Engine)
    engine._root = Path(__file__).parents[2]
    engine.plan = Mock(arms={"a": arm}, variants=dict(enumerate(variants)))
    assert engine._meshed() is meshed


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Declined("lab-2: no such file"), NotReadyError),
        (BlockFailed("lab-2: the program ended: channel closed"), BlockFailed),
    ],
)
def test_a_program_that_is_missing_is_told_from_a_host_that_is_away(
    error: BlockFailed, expected: type[Exception]
) -> None:
    runner = Mock(ask=Mock(side_effect=error))
    reach = Reach(*[Mock()] * 8, runners={"lab-2": runner})
    order = Order("a/a", "a", "a", None, {}, ("ipc", "measure"))
    with pytest.raises(CampaignError) as raised:
        reach.program(Mock(host="lab-2"), order, "sl-a")
    assert type(raised.value) is expected


@pytest.mark.parametrize(
    ("cpus", "bound"), [(None, [2, 5]), ("any", [2, 5]), ("apart", [2, 5]), ("same", [5])]
)
def test_a_program_that_is_put_on_one_cpu_is_bound_to_it(
    cpus: str | None, bound: list[int]
) -> None:
    """As ipc puts both its ends on the last one; the placement of the rows follows from it."""
    runner = Mock(ask=Mock(return_value={"tool": {"path": "/x/ipc"}}), facts={"cpus": [2, 5]})
    reach = Reach(*[Mock()] * 8, runners={"lab-2": runner})
    order = Order("a/a", "a", "a", None, {"cpus": cpus} if cpus else {}, ("ipc", "measure"))
    assert reach.program(Mock(host="lab-2"), order, "sl-a")["cpus"] == bound


@pytest.mark.parametrize(
    ("experiment", "images"),
    [
        ("web", {"app", "combined", "proxy"}), ("web-direct", {"app", "caller"}),
        ("ipc-bare", {"ipc"}), ("container-cost", {"ipc"}),
    ],
)  # fmt: skip
def test_a_plan_is_held_to_the_images_that_it_runs(experiment: str, images: set[str]) -> None:
    here = Path(__file__).parents[2]
    text = (here / "experiments" / f"{experiment}.yml").read_bytes()
    assert images_used(parse_experiment(text, experiment), here) == images


def test_a_host_for_which_nothing_was_built(tmp_path: Path) -> None:
    write(tmp_path, "x86_64")
    built = read_images(tmp_path)[1]
    refuse_unbuilt(plan_with(), built)
    with pytest.raises(NotReadyError, match="lab-arm is aarch64, and the images are for x86_64"):
        refuse_unbuilt(plan_with("hosts: [arch_aarch64]\n"), built)


def test_a_lab_without_images_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="no images yet"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("ahead_s", "said"),
    [(3600.4, "lab-arm: its clock is 3600.4 s ahead of"), (-2.1, "its clock is 2.1 s behind")],
)
def test_a_clock_that_is_off(ahead_s: float, said: str) -> None:
    with pytest.raises(NotReadyError, match=said):
        refuse_clock("lab-arm", ahead_s)


@pytest.mark.parametrize("ahead_s", [0.0, 1.9, -1.9])
def test_a_clock_that_ntp_would_mend(ahead_s: float) -> None:
    refuse_clock("lab-arm", ahead_s)
