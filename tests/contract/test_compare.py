"""``python -m analysis compare``: verdicts from a lab's dataset, and from anybody's CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))

from synthetic_dataset import Campaign, add_campaign

from analysis import compare_view
from analysis.__main__ import app

ROOT = Path(__file__).parents[2]
ARMS = {"tcp": 1.0, "uds": 1.1, "mesh": 0.7, "same": 1.0}
BLOCKS = 10


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], prog_name="analysis")


def lines(copies: str = "ab", hosts: tuple[str, ...] = ("h1", "h2")) -> list[str]:
    rng = np.random.default_rng(1)
    made = ["host,block,arm,copy,throughput_rps,remark"]
    for host in hosts:
        for block in range(BLOCKS):
            level = 1000 * rng.normal(1, 0.05)
            for arm, ratio in ARMS.items():
                for copy in copies if arm == "tcp" else "a":
                    value = level * ratio * rng.normal(1, 0.005)
                    made.append(f"{host},{block},{arm},{copy},{value:.2f},")
    return made


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "others.csv"
    path.write_text("\n".join([*lines(), ""]))
    return path


def test_other_peoples_figures_get_the_same_verdicts(plain: Path) -> None:
    done = run(plain, "--baseline", "tcp", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [table["cell"]["host"] for table in found["tables"]] == ["h1", "h2"]
    for table in found["tables"]:
        words = {one["arm"]: one["word"] for one in table["verdicts"]}
        assert words == {"mesh": "different", "same": "equivalent", "uds": "different"}
        assert {one["tests"] for one in table["verdicts"]} == {3}, "Holm over all of a cell's arms"
        assert all(0 < one["noise_floor"] < 0.02 for one in table["verdicts"]), "from copy b"
        of_arm = {one["arm"]: one for one in table["verdicts"]}
        assert of_arm["uds"]["low"] < 1.1 < of_arm["uds"]["high"]
        assert table["arms"][0]["arm"] == "tcp"


def test_a_table_for_people_says_better_and_worse(plain: Path) -> None:
    done = run(plain, "--baseline", "tcp")
    assert done.exit_code == 0, done.output
    assert "throughput (requests/s): h1" in done.stdout
    assert "different (better)" in done.stdout
    assert "different (worse)" in done.stdout


def test_a_metric_that_nobody_knows_is_neither_better_nor_worse(plain: Path) -> None:
    plain.write_text(plain.read_text().replace("throughput_rps", "goodput"))
    done = run(plain, "--baseline", "tcp", "--metric", "goodput")
    assert done.exit_code == 0, done.output
    assert "goodput: h1" in done.stdout
    assert "different" in done.stdout
    assert "better" not in done.stdout


def test_csv_is_one_line_a_verdict_and_runs_no_formula(plain: Path) -> None:
    plain.write_text(plain.read_text().replace(",uds,", ",=1+1,"))
    done = run(plain, "--baseline", "tcp", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 6
    assert {row["arm"] for row in rows} == {"mesh", "same", "'=1+1"}


def test_a_column_can_be_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    both = [f"{line},{size}" for size in ("1k", "64k") for line in lines("a", ("h1",))[1:]]
    path.write_text("\n".join(["host,block,arm,copy,throughput_rps,remark,size", *both]))
    mixed = run(path, "--baseline", "tcp")
    assert mixed.exit_code == 2
    assert "sizes.csv:42: a second figure for the same host, block, arm, copy" in mixed.output
    assert "--by" in mixed.output
    done = run(path, "--baseline", "tcp", "--by", "size", "--format", "json")
    tables = json.loads(done.stdout)["tables"]
    assert [table["by"] for table in tables] == [[["size", "1k"]], [["size", "64k"]]]
    assert {one["noise_floor"] for table in tables for one in table["verdicts"]} == {None}


def test_an_empty_figure_is_null_and_its_block_has_no_pair(plain: Path) -> None:
    text = plain.read_text().splitlines()
    (at,) = [n for n, line in enumerate(text) if line.startswith("h1,3,uds,")]
    text[at] = "h1,3,uds,a,,"
    plain.write_text("\n".join(text))
    done = run(plain, "--baseline", "tcp", "--format", "json")
    (uds,) = [
        one for one in json.loads(done.stdout)["tables"][0]["verdicts"] if one["arm"] == "uds"
    ]
    assert (uds["n"], uds["unpaired"]) == (BLOCKS - 1, 1)


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("throughput_rps", "troughput_rps"), ":1: no column 'throughput_rps'; it has"),
        (replaced("throughput_rps", "troughput_rps"), "is 'troughput_rps' meant? Rename it"),
        (replaced("block", "blk"), ":1: no column 'block'"),
        (lambda text: text + "h1,99,tcp,a,nan,\n", ":102: throughput_rps is 'nan': expected a"),
        (lambda text: text + "h1,99,tcp,a,inf,\n", "throughput_rps is 'inf'"),
        (lambda text: text + "h1,99,tcp,a,-3,\n", "throughput_rps is '-3'"),
        (lambda text: text + "h1,99,tcp,a,0,\n", "throughput_rps is '0'"),
        (lambda text: text + "h1,99,tcp,a,fast,\n", "throughput_rps is 'fast'"),
        (lambda text: text + ",99,tcp,a,1,\n", ":102: host is empty: every run has one"),
        (lambda text: text + "h1,1,tcp,a,1,\nh1,2,tcp,a,1,\n", ":102: a second figure for the"),
        (lambda text: text + "h1,99,tcp,a,1,,,,\n", "not a CSV"),
        (lambda _: "", "not a CSV"),
        (lambda text: text.splitlines()[0], ":2: no run"),
        (lambda text: text.replace("tcp", "tpc"), "no arm 'tcp' among mesh, same, tpc, uds; is"),
    ],
)
def test_bad_files_are_refused_by_line(
    plain: Path, change: Callable[[str], str], said: str
) -> None:
    plain.write_text(change(plain.read_text()))
    done = run(plain, "--baseline", "tcp")
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert str(plain) in done.output


def test_six_blocks_are_needed_for_a_word(plain: Path) -> None:
    kept = [line for line in plain.read_text().splitlines() if line.split(",")[1] in "block01234"]
    plain.write_text("\n".join(kept))
    done = run(plain, "--baseline", "tcp", "--format", "json")
    verdicts = json.loads(done.stdout)["tables"][0]["verdicts"]
    assert {one["word"] for one in verdicts if one["arm"] != "same"} == {"inconclusive"}
    assert {one["low"] for one in verdicts} == {None}


def test_a_labs_dataset(tmp_path: Path) -> None:
    made = Campaign(histograms=False)
    add_campaign(tmp_path, made)
    done = run(tmp_path, "--baseline", "tcp-loopback", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["campaign"] == made.name
    (table,) = found["tables"]
    assert table["cell"]["tool"] == "wrk"
    words = {one["arm"]: one["word"] for one in table["verdicts"]}
    assert words == {"combined": "equivalent", "sharedvolume": "different"}
    again = run(tmp_path, "--baseline", "tcp-loopback", "--metric", "cpu_per_request_s")
    assert "CPU per request" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--baseline", "tcp-lopback"], "is 'tcp-loopback' meant?"),
        (["--baseline", "tcp-loopback", "--metric", "latency_p50"], "is 'latency_p50_s' meant?"),
        (["--baseline", "tcp-loopback", "--metric", "host"], "no column of runs that can be used"),
    ],
)
def test_a_dataset_is_asked_for_what_it_has_not(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    add_campaign(tmp_path, Campaign(histograms=False))
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output


def test_a_campaign_is_named_behind_its_folder(tmp_path: Path) -> None:
    for name, ratio in (("web-1", 1.2), ("web-2", 1.0)):
        started = 1_795_000_000.0 + 1e5 * (name == "web-2")
        arms = {"tcp-loopback": 1.0, "sharedvolume": ratio}
        add_campaign(tmp_path, Campaign(name, arms=arms, started=started, histograms=False))
    asked = ("--baseline", "tcp-loopback", "--format", "json")
    words = {}
    for source in (tmp_path, f"{tmp_path}@web-2", f"{tmp_path}@web-1"):
        found = json.loads(run(source, *asked).stdout)
        assert found["source"] == str(tmp_path)
        words[str(source)] = (found["campaign"], found["tables"][0]["verdicts"][0]["word"])
    assert list(words.values()) == [
        ("web-2", "equivalent"), ("web-2", "equivalent"), ("web-1", "different"),
    ]  # fmt: skip
    gone = run(f"{tmp_path}@web-x", *asked)
    assert gone.exit_code == 2
    assert "no campaign 'web-x'; it has web-1, web-2" in gone.output


def test_a_baseline_alone_has_figures_though_half_its_versions_are_unknown(tmp_path: Path) -> None:
    cell = Campaign().cells[0]
    half = [cell, {**cell, "tool_version": None}]  # one cell: a version does not tell cells apart
    add_campaign(tmp_path, Campaign(arms={"tcp-loopback": 1.0}, cells=half, histograms=False))
    done = run(tmp_path, "--baseline", "tcp-loopback")
    assert done.exit_code == 0, done.output


def test_a_csv_has_no_campaigns(plain: Path) -> None:
    done = run(f"{plain}@web-1", "--baseline", "tcp")
    assert done.exit_code == 2
    assert "has no campaigns" in done.output


def test_mixed_conditions_are_refused(tmp_path: Path) -> None:
    add_campaign(
        tmp_path, Campaign(histograms=False, arm_values={"combined": {"placement": "shared"}})
    )
    done = run(tmp_path, "--baseline", "tcp-loopback")
    assert done.exit_code == 2
    assert "combined against tcp-loopback is no comparison" in done.output
    assert "shared (combined)" in done.output


def test_without_a_dataset_it_says_how_one_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, "--baseline", "tcp")
    assert done.exit_code == 3
    assert "there is no dataset yet" in done.output


def test_the_schema_of_the_json_is_published() -> None:
    published = json.loads((ROOT / "docs" / "compare.schema.json").read_text())
    assert published == compare_view.schema()
