"""Across hosts: ratios of ratios, summaries, refusals, emulated hosts, images, their section."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic_dataset import Campaign, add_campaign
from test_analysis_report import HOSTILE, page_of

from analysis.across import Page
from analysis.dataset import open_dataset
from analysis.hosts import Comparison, Group
from analysis.report import render
from analysis.result import Analysis
from analysis.summary import analyse
from analysis.tables import csv_text, tables
from analysis.terminal import show
from analysis.wording import answer

ARM, INTEL = {"arch": "aarch64"}, {"arch": "x86_64"}
EMULATED = {**ARM, "emulated": True}
IMAGE = {
    "name": "app", "digest": "sha256:" + "ab" * 32, "bytes": 61_200_000, "layers": 4,
    "arch": "x86_64",
}  # fmt: skip


def cells(hosts: dict[str, dict[str, Any]], concurrency: int = 16) -> list[dict[str, Any]]:
    common = {"variant": "", "tool": "wrk", "concurrency": concurrency}
    return [{"host": host, **common, **values} for host, values in hosts.items()]


def made(
    state: Path, hosts: dict[str, dict[str, Any]], *, emulated: bool = False, **changes: Any
) -> Analysis:
    arms = {"tcp-loopback": 1.0, "sharedvolume": 1.1}
    wanted = {"cells": cells(hosts), "arms": arms, "histograms": False, "noise": 0.005, **changes}
    add_campaign(state, Campaign(**wanted))
    return analyse(open_dataset(state), "web", emulated=emulated)


def only(page: Page, metric: str = "throughput_rps") -> Comparison:
    (found,) = [one for one in page.comparisons if one.metric == metric]
    return found


def terminal(analysis: Analysis) -> str:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    show(analysis, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def ratios(**of_host: float) -> dict[str, dict[str, float]]:
    return {name.replace("_", "-"): {"sharedvolume": ratio} for name, ratio in of_host.items()}


def test_one_host_has_no_page_and_no_table(tmp_path: Path) -> None:
    found = made(tmp_path, {"lab-2": INTEL})
    assert found.across == ()
    assert not [name for name in tables(found) if name.startswith(("across", "images"))]
    assert "Across hosts" not in render(found, {})
    assert len(answer(found)) == 2


def test_one_host_of_each_gives_the_ratio_of_their_ratios_alone(tmp_path: Path) -> None:
    found = made(
        tmp_path, {"lab-2": INTEL, "arm-1": ARM}, host_ratios=ratios(lab_2=1.1, arm_1=1.21)
    )
    (page,) = found.across
    assert page.title == "aarch64 against x86_64"
    comparison = only(page)
    by_host = {one.host: one.verdict.ratio for one in comparison.hosts}
    ratio = comparison.ratio
    assert ratio is not None and ratio.low is not None and ratio.high is not None
    assert ratio.ratio == pytest.approx(by_host["arm-1"] / by_host["lab-2"])
    assert ratio.low < 1.1 < ratio.high
    assert (ratio.word, ratio.sample, comparison.summaries) == ("different", False, ())
    assert comparison.notes[0].endswith("that have an interval, here 1 of aarch64 and 1 of x86_64")
    line = answer(found)[-1]
    assert line.startswith(
        "aarch64 against x86_64, sharedvolume vs tcp-loopback: ratio of ratios +"
    )
    assert line.endswith("different, of these hosts alone.")
    assert line in terminal(found).splitlines()


def test_equal_ratios_on_unequal_machines_are_equivalent(tmp_path: Path) -> None:
    values = {("arm-1", arm): {"latency_p50_s": 0.5} for arm in ("tcp-loopback", "sharedvolume")}
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": ARM}, noise=0.002, host_values=values)
    ratio = only(found.across[0]).ratio
    assert ratio is not None
    assert ratio.word == "equivalent"
    # The machines' latencies are three orders of magnitude apart: that is in no figure.
    slow = only(found.across[0], "latency_p50_s")
    assert [round(one.verdict.ratio or 0, 1) for one in slow.hosts] == [1.0, 0.9]


def test_three_hosts_of_each_are_a_sample(tmp_path: Path) -> None:
    truth = ratios(lab_2=1.08, lab_3=1.10, lab_4=1.12, arm_1=1.18, arm_2=1.20, arm_3=1.22)
    hosts = {host: ARM if host.startswith("arm") else INTEL for host in truth}
    found = made(tmp_path, hosts, host_ratios=truth)
    comparison = only(found.across[0])
    assert [group.label for group, _ in comparison.summaries] == ["aarch64", "x86_64"]
    for (_, summary), middle in zip(comparison.summaries, (1.2, 1.1), strict=True):
        low, high = summary.mean.interval()
        assert math.exp(low) < middle < math.exp(high)
        assert summary.predicted[0] < low < high < summary.predicted[1]
        assert summary.tau == pytest.approx(0.017, abs=0.01)
    assert comparison.ratio is not None
    assert comparison.ratio.sample
    assert comparison.ratio.ratio == pytest.approx(1.2 / 1.1, rel=0.02)
    assert comparison.notes == ()
    assert "of hosts like these" in answer(found)[-1]


def test_virtual_hosts_of_one_machine_are_no_sample(tmp_path: Path) -> None:
    names = ("lab-2", "lab-3", "lab-4")
    facts = {name: {"boot_id": "one"} for name in names}
    found = made(tmp_path, dict.fromkeys(names, INTEL), host_facts=facts)
    assert [page.title for page in found.across] == ["hosts of x86_64"]
    comparison = only(found.across[0])
    assert comparison.summaries == ()
    assert "one machine: lab-2 and lab-3" in comparison.notes
    assert len(answer(found)) == 2


def test_hosts_of_one_architecture_have_a_summary_and_no_ratio_of_ratios(tmp_path: Path) -> None:
    found = made(tmp_path, dict.fromkeys(("lab-2", "lab-3", "lab-4"), INTEL))
    comparison = only(found.across[0])
    assert comparison.ratio is None
    assert comparison.summaries[0][1].hosts == 3
    assert "over 3 hosts, a further one in [" in answer(found)[-1]


def test_a_missing_arm_on_one_host_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    hosts = {"lab-2": INTEL, "arm-1": ARM, "arm-2": ARM}
    lost = {("arm-2", "sharedvolume"): {"state": "invalid", "reasons": "errors"}}
    found = made(tmp_path, hosts, host_values=lost)
    comparison = only(found.across[0])
    assert comparison.ratio is not None and comparison.ratio.low is not None
    assert any("on arm-2 (n = 0)" in note for note in comparison.notes)
    everywhere = {**lost, ("arm-1", "sharedvolume"): {"state": "invalid", "reasons": "errors"}}
    bare = made(tmp_path / "both", hosts, host_values=everywhere)
    comparison = only(bare.across[0])
    assert comparison.ratio is None
    assert "no ratio was measured on aarch64" in comparison.notes
    assert "not compared, " in answer(bare)[-1]
    assert "by host requests/s +" in answer(bare)[-1]


def test_a_host_without_a_good_run_still_has_its_page(tmp_path: Path) -> None:
    lost = {
        ("arm-1", arm): {"state": "invalid", "reasons": "steal 9 %"}
        for arm in ("tcp-loopback", "sharedvolume")
    }
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": ARM}, host_values=lost)
    (page,) = found.across
    assert page.hosts[Group(("aarch64",), False)] == ("arm-1",)
    assert "no ratio was measured on aarch64" in only(page).notes


def test_a_contrast_without_a_good_run_is_not_compared_and_the_others_are(tmp_path: Path) -> None:
    hosts = {"lab-2": INTEL, "arm-1": ARM}
    lost = {"b": {"state": "invalid", "reasons": "errors"}, "c": {"state": "invalid"}}
    arms = {"a": 1.0, "b": 1.1, "c": 1.1, "d": 1.2}
    add_campaign(
        tmp_path,
        Campaign(arms=arms, cells=cells(hosts), arm_values=lost, histograms=False),
    )
    plan = tmp_path / "results" / "campaigns" / Campaign().name / "plan.json"
    body = json.loads(plan.read_text())
    plan.write_text(json.dumps({**body, "contrasts": [["b", "c"], ["d", "a"]]}))
    lines = answer(analyse(open_dataset(tmp_path), "web"))
    assert "b vs c: not compared, no interval, which takes 6 pairs that differ, on" in lines[-2]
    assert "d vs a: ratio of ratios " in lines[-1]


def test_few_blocks_give_a_ratio_without_an_interval(tmp_path: Path) -> None:
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": ARM}, blocks=3)
    ratio = only(found.across[0]).ratio
    assert ratio is not None
    assert (ratio.low, ratio.p, ratio.word) == (None, None, "inconclusive")
    assert "(no 95 % interval), inconclusive" in answer(found)[-1]


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("profile", "standard", "profile: quick (lab-2) and standard (arm-1)"),
        ("placement", "hosts", "placement: hosts (arm-1) and same_core (lab-2)"),
        ("tool_version", "4.2.0", "tool_version: 4.1.0 (lab-2) and 4.2.0 (arm-1)"),
        ("conditions", "loss 1 %", "conditions: none (lab-2) and loss 1 % (arm-1)"),
        ("placement", None, "placement: same_core (lab-2) and unknown (arm-1)"),
    ],
)
def test_hosts_that_differ_are_refused_by_name_and_the_rest_is_whole(
    tmp_path: Path, column: str, value: str | None, shown: str
) -> None:
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": {**ARM, column: value}})
    comparison = only(found.across[0])
    assert (comparison.ratio, comparison.summaries) == (None, ())
    assert comparison.refused == shown
    assert f"not compared, {shown}; by host requests/s +" in answer(found)[-1]
    assert shown in " ".join(terminal(found).split())
    assert {v.cell.host for v in found.verdicts} == {"lab-2", "arm-1"}
    text = "".join(page_of(found).text)
    assert f"Not compared across hosts: {shown}." in text
    assert shown in csv_text(tables(found)["across"])


def test_an_architecture_that_is_not_said_is_compared_with_none(tmp_path: Path) -> None:
    found = made(tmp_path, {"lab-2": INTEL, "lab-9": {"arch": None}})
    assert found.across[0].title == "unknown against x86_64"
    assert only(found.across[0]).refused == "arch: unknown (lab-9)"


def test_sidecars_of_different_versions_are_refused_and_a_direct_arm_has_none(
    tmp_path: Path,
) -> None:
    def measured(state: Path, **version: str) -> Comparison:
        values = {
            (host.replace("_", "-"), "sharedvolume"): {"sidecars": {"client": {"version": text}}}
            for host, text in version.items()
        }
        hosts = {"lab-2": INTEL, "arm-1": ARM}
        return only(made(state, hosts, host_values=values).across[0])

    assert measured(tmp_path / "same", lab_2="1.36.4", arm_1="1.36.4").refused == ""
    assert measured(tmp_path / "other", lab_2="1.36.4", arm_1="1.35.0").refused == (
        "sidecar_version: 1.35.0 (arm-1) and 1.36.4 (lab-2)"
    )


def test_a_far_end_of_another_architecture_makes_a_group_of_its_own(tmp_path: Path) -> None:
    hosts = {"lab-2": {**INTEL, "peer": "lab-3"}, "lab-4": {**INTEL, "peer": "arm-1"}}
    campaign = Campaign(
        cells=cells(hosts), arms={"tcp-loopback": 1.0, "sharedvolume": 1.1}, histograms=False
    )
    add_campaign(tmp_path, campaign)
    found = analyse(open_dataset(tmp_path), "web")
    assert [page.title for page in found.across] == ["hosts of x86_64"]
    add_campaign(
        tmp_path / "far",
        Campaign(
            cells=cells({"lab-4": {**INTEL, "peer": "arm-1"}, "lab-2": INTEL}),
            arms=campaign.arms,
            histograms=False,
            peer_facts={"arch": "aarch64"},
        ),
    )
    found = analyse(open_dataset(tmp_path / "far"), "web")
    assert [page.title for page in found.across] == ["x86_64 to aarch64 against x86_64"]


@pytest.mark.parametrize("requests", [0, 40])
def test_an_emulated_host_left_out_has_a_page_of_what_worked(tmp_path: Path, requests: int) -> None:
    slow = {"state": "invalid", "reasons": "little", "requests": requests}
    lost = {("arm-1", "sharedvolume"): slow}
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": EMULATED}, host_values=lost)
    answered = 8 if requests else 0
    (page,) = found.across
    assert (page.title, page.left_out) == ("aarch64 (emulated) against x86_64", True)
    assert page.comparisons == ()
    assert [(one.arm, one.runs, one.answered, one.good) for one in page.served] == [
        ("sharedvolume", 8, answered, 0),
        ("tcp-loopback", 16, 16, 16),
    ]
    assert answer(found)[-1] == (
        "aarch64 (emulated) against x86_64: not compared, emulated hosts are left out (arm-1). "
        f"Functional: {16 + answered} of 24 runs there had answers. --emulated shows ratios."
    )
    text = "".join(page_of(found).text)
    assert "say nothing of the hardware that it stands for" in text
    assert "What worked on emulated hosts" in text


@pytest.mark.parametrize("emulated", [True, False])
def test_an_emulated_host_without_a_good_run_is_not_told_to_be_asked_for(
    tmp_path: Path, emulated: bool
) -> None:
    slow = {"state": "invalid", "reasons": "little"}
    lost = {("arm-1", arm): slow for arm in ("tcp-loopback", "sharedvolume")}
    hosts = {"lab-2": INTEL, "arm-1": EMULATED}
    found = made(tmp_path, hosts, emulated=emulated, host_values=lost)
    (page,) = found.across
    assert (page.left_out, page.comparisons) == (False, ())
    assert answer(found)[-1] == (
        "aarch64 (emulated) against x86_64: not compared, no run on emulated hosts is good "
        "(arm-1). Functional: 24 of 24 runs there had answers."
    )
    text = "".join(page_of(found).text)
    assert "What worked on emulated hosts" in text
    assert "shows its own ratios" not in text


def test_an_emulated_host_asked_for_is_shown_and_never_put_together_with_a_real_one(
    tmp_path: Path,
) -> None:
    hosts = {"lab-2": INTEL, "arm-1": EMULATED, "arm-2": ARM}
    found = made(tmp_path, hosts, emulated=True)
    pages = {page.title: page for page in found.across}
    assert set(pages) == {"aarch64 against x86_64", "aarch64 (emulated) against x86_64"}
    refused = only(pages["aarch64 (emulated) against x86_64"])
    assert (refused.refused, refused.ratio) == (
        "emulated: False (lab-2) and True (arm-1)",
        None,
    )
    assert {one.host for one in refused.hosts} == {"lab-2", "arm-1"}
    real = only(pages["aarch64 against x86_64"])
    assert real.ratio is not None
    assert {one.host for one in real.hosts} == {"lab-2", "arm-2"}
    lines = answer(found)
    assert lines[1].startswith("sharedvolume vs tcp-loopback: ")
    assert "of 2 cells" in lines[1]
    assert lines[2].startswith("sharedvolume vs tcp-loopback, emulated: +")
    assert "taken in (arm-1)" in found.warnings[0]


def test_several_settings_are_counted_in_one_line(tmp_path: Path) -> None:
    hosts = {"lab-2": INTEL, "arm-1": ARM}
    found = made(tmp_path, hosts, cells=[*cells(hosts), *cells(hosts, 64)], noise=0.002)
    line = answer(found)[-1]
    assert line.startswith("aarch64 against x86_64, sharedvolume vs tcp-loopback: equivalent in 2")
    assert "of 2 settings, " in line


def test_images_are_shown_by_architecture_with_what_is_not_said(tmp_path: Path) -> None:
    images = {
        "lab-2": {"app": IMAGE, "proxy": {**IMAGE, "name": "proxy", "bytes": None, "layers": None}},
        "arm-1": {"app": {**IMAGE, "arch": "aarch64", "bytes": 48_900_000}},
    }
    found = made(tmp_path, {"lab-2": INTEL, "arm-1": ARM}, images=images)
    shown = found.across[0].images
    assert [(one.name, one.arch, one.bytes, one.layers) for one in shown] == [
        ("app", "aarch64", 48_900_000, 4),
        ("app", "x86_64", 61_200_000, 4),
        ("proxy", "x86_64", None, None),
    ]
    text = " ".join("".join(page_of(found).text).split())
    assert "aarch6448.9-12.34" in text.replace(" ", "")
    assert "not said" in text
    bare = made(tmp_path / "bare", {"lab-2": INTEL, "arm-1": ARM})
    assert "say nothing of the images' sizes" in "".join(page_of(bare).text)


def test_the_section_draws_hosts_and_ratios_and_labels_stay_text(tmp_path: Path) -> None:
    truth = ("lab-2", "lab-3", "lab-4", "arm-1", "arm-2", HOSTILE)
    hosts = {host: INTEL if host.startswith("lab") else ARM for host in truth}
    images = {HOSTILE: {HOSTILE: {**IMAGE, "name": HOSTILE, "arch": "aarch64", "digest": HOSTILE}}}
    found = made(tmp_path, hosts, images=images)
    page = page_of(found)
    assert "across-1" in page.ids
    drawn = [name for name in page.wanted if name.startswith("across-1-")]
    assert drawn[:2] == ["across-1-ratios-1", "across-1-hosts-1"]
    assert len(drawn) == 8
    assert HOSTILE not in render(found, tables(found))
    specs = [text for kind, text in page.scripts if kind == "application/json"]
    forest = next(s for s in specs if "a further host, 95 % prediction" in s)
    rows = json.loads(forest)["layer"][-1]["data"]["values"]
    assert len(rows) == 6 + 2 * 2
    assert {row["key"] for row in rows} == {"aarch64", "x86_64"}
