"""Reading the dataset, and what is refused, each beside its message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_dataset import Campaign, add_campaign, write_part

from analysis.dataset import open_dataset
from analysis.errors import (
    BadDatasetError,
    MixedComparisonError,
    NoDatasetError,
    UnknownNameError,
)
from analysis.summary import analyse

SMALL = Campaign(histograms=False, blocks=6)


def campaign(**changes: object) -> Campaign:
    return Campaign(**{"histograms": False, "blocks": 6, **changes})  # type: ignore[arg-type]


def edit_index(state: Path, **changes: object) -> None:
    path = state / "results" / "dataset" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_no_dataset_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NoDatasetError, match=r"python -m collector collect --state") as error:
        open_dataset(tmp_path)
    assert error.value.exit_code == 3
    (tmp_path / "results" / "dataset").mkdir(parents=True)
    index = {"schema": 1, "generation": 1, "parts": []}
    (tmp_path / "results" / "dataset" / "index.json").write_text(json.dumps(index))
    with pytest.raises(NoDatasetError, match="holds no run yet"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"parts": [{"table": "runs"}]}, "expected 'parts' with table, campaign and file"),
        ({"superseded": [["c", 1]]}, "expected 'parts'"),
        (
            {"parts": [{"table": "runs", "campaign": "c", "file": "../../x.parquet"}]},
            "lies outside",
        ),
        ({"parts": [{"table": "walks", "campaign": "c", "file": "x"}]}, "unknown table 'walks'"),
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    add_campaign(tmp_path, SMALL)
    edit_index(tmp_path, **changes)
    with pytest.raises(BadDatasetError, match=message):
        open_dataset(tmp_path)


def test_text_that_is_no_json_is_refused_with_its_line(tmp_path: Path) -> None:
    add_campaign(tmp_path, SMALL)
    (tmp_path / "results" / "dataset" / "index.json").write_text('{\n"schema": 1,,')
    with pytest.raises(BadDatasetError, match=r"index\.json:2: not JSON"):
        open_dataset(tmp_path)


def test_absent_and_broken_parts_are_refused_by_name(tmp_path: Path) -> None:
    add_campaign(tmp_path, SMALL)
    part = next((tmp_path / "results" / "dataset" / "parts").glob("runs-*"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadDatasetError, match=r"runs-.*parquet: not a readable Parquet part"):
        open_dataset(tmp_path).runs()
    part.unlink()
    with pytest.raises(BadDatasetError, match=r"listed by index\.json, but absent"):
        open_dataset(tmp_path).runs()


def test_superseded_attempts_are_not_used(tmp_path: Path) -> None:
    add_campaign(tmp_path, campaign(blocks=8), superseded=[[SMALL.name, 3, 1]])
    found = analyse(open_dataset(tmp_path), "web")
    assert found.account.superseded == 4
    assert found.account.good == 28
    assert set(found.runs["block"]) == {1, 2, 4, 5, 6, 7, 8}
    assert found.account.missing == 4
    assert {verdict.n for verdict in found.verdicts} == {7}


def test_a_later_attempt_replaces_an_earlier_one_even_unlisted(tmp_path: Path) -> None:
    add_campaign(tmp_path, campaign())
    add_campaign(tmp_path, campaign(run_values={"attempt": 2}, seed=8))
    found = analyse(open_dataset(tmp_path), "web")
    assert set(found.runs["attempt"]) == {2}
    assert (found.account.good, found.account.superseded) == (24, 24)


def test_slots_of_a_quarantined_file_are_quarantined_and_later_tranches_not_needed(
    tmp_path: Path,
) -> None:
    add_campaign(tmp_path, SMALL)
    folder = tmp_path / "results"
    path = folder / "campaigns" / SMALL.name / "plan.json"
    plan = json.loads(path.read_text())
    for block, tranche in ((7, 1), (8, 1), (9, 2)):
        runs = [{"run": f"{block}-{n}"} for n in range(4)]
        plan["blocks"].append(
            plan["blocks"][0] | {"block": block, "tranche": tranche, "runs": runs}
        )
    path.write_text(json.dumps(plan))
    index = json.loads((folder / "dataset" / "index.json").read_text())
    row = {"name": "b0007-a1.jsonl", "kind": "foreign", "state": "quarantined"}
    index["parts"].append(
        write_part(
            folder / "dataset",
            "files",
            SMALL.name,
            [{**row, "reason": "torn line"}],
        )
    )
    edit_index(tmp_path, parts=index["parts"])
    line = analyse(open_dataset(tmp_path), "web").account.line
    assert line.startswith(
        "36 planned = 24 good + 0 invalid + 4 quarantined + 4 missing + 4 not needed"
    )


def test_the_newest_campaign_is_chosen_and_others_can_be_named(tmp_path: Path) -> None:
    add_campaign(tmp_path, campaign(name="web-b", started=2e9))
    add_campaign(tmp_path, campaign(name="web-c", started=1e9))
    dataset = open_dataset(tmp_path)
    assert analyse(dataset, "web").campaign == "web-b"
    assert analyse(dataset, "web", "web-c").campaign == "web-c"
    with pytest.raises(UnknownNameError, match="no campaign 'web-d'; it has web-c, web-b"):
        analyse(dataset, "web", "web-d")
    with pytest.raises(UnknownNameError, match="did you mean 'web'"):
        analyse(dataset, "wep")


def test_invalid_runs_are_counted_by_reason_and_never_ranked(tmp_path: Path) -> None:
    values = {"state": "invalid", "reasons": "errors 9 of 10 requests; steal 7.0% of the CPUs"}
    add_campaign(tmp_path, campaign(arm_values={"combined": values}))
    found = analyse(open_dataset(tmp_path), "web")
    assert found.account.reasons == (("invalid", "errors", 6), ("invalid", "steal", 6))
    assert "24 planned = 18 good + 6 invalid" in found.account.line
    combined = [v for v in found.verdicts if v.arm == "combined"]
    assert {(v.word, v.n, v.unpaired) for v in combined} == {("inconclusive", 0, 6)}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("placement", "split"),
        ("profile", "standard"),
        ("arch", "aarch64"),
        ("kind", "cloud"),
        ("conditions", "loss=5"),
        ("tool_version", "4.2.0"),
        ("placement", None),
    ],
)
def test_mixed_comparisons_are_refused_naming_the_values(
    tmp_path: Path, column: str, value: str | None
) -> None:
    add_campaign(tmp_path, campaign(arm_values={"sharedvolume": {column: value}}))
    with pytest.raises(MixedComparisonError) as error:
        analyse(open_dataset(tmp_path), "web")
    assert column in str(error.value)
    assert f"{value or 'unknown'} (sharedvolume)" in str(error.value)
    assert "(tcp-loopback)" in str(error.value)


def test_emulated_hosts_stay_out_unless_asked_for(tmp_path: Path) -> None:
    cells = [
        {"host": host, "variant": "", "tool": "wrk", "concurrency": 16, "emulated": emulated}
        for host, emulated in (("lab-2", False), ("lab-9", True))
    ]
    add_campaign(tmp_path, campaign(cells=cells))
    dataset = open_dataset(tmp_path)
    found = analyse(dataset, "web")
    assert {cell.host for cell in found.cells} == {"lab-2"}
    assert "left out (lab-9)" in found.warnings[0]
    both = analyse(dataset, "web", emulated=True)
    assert {cell.host for cell in both.cells} == {"lab-2", "lab-9"}


def test_a_campaign_on_emulated_hosts_only_says_how_to_ask(tmp_path: Path) -> None:
    add_campaign(tmp_path, campaign(run_values={"emulated": True}))
    with pytest.raises(UnknownNameError, match="--emulated"):
        analyse(open_dataset(tmp_path), "web")


def test_without_a_plan_the_twin_shows_the_baseline(tmp_path: Path) -> None:
    add_campaign(tmp_path, campaign(with_plan=False))
    found = analyse(open_dataset(tmp_path), "web")
    assert found.plan.baseline == "tcp-loopback"
    assert {v.arm for v in found.verdicts} == {"sharedvolume", "combined"}
    assert found.account.planned is None


def test_a_plan_of_another_schema_is_refused(tmp_path: Path) -> None:
    add_campaign(tmp_path, SMALL)
    path = tmp_path / "results" / "campaigns" / SMALL.name / "plan.json"
    path.write_text(json.dumps({"schema": 9}))
    with pytest.raises(BadDatasetError, match="schema 9, expected 1"):
        analyse(open_dataset(tmp_path), "web")
