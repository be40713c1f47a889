"""The commands: what they print, what they write, how they end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from blockfiles import Body, Campaign
from typer.testing import CliRunner, Result

from collector.dataset import commands

MADE = Campaign(blocks=2)
APP = typer.Typer()
commands.register(APP)


def call(*argv: object) -> Result:
    return CliRunner().invoke(APP, [str(word) for word in argv])


def cut(body: Body) -> None:
    body["measure"]["stdout"] = ""


def test_collect(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    found = call("collect", "--state", tmp_path)
    assert found.output == (
        f"{MADE.name}: 6 planned = 6 good + 0 invalid + 0 quarantined + 0 missing + 0 not needed\n"
    )
    assert found.exit_code == 0
    again = call("collect", "--state", tmp_path, "--rebuild", "--verify")
    assert again.exit_code == 0
    assert "verified: 0 problems in 6 parts" in again.output


def test_collect_with_a_quarantined_run(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1, change={2: cut})
    found = call("collect", "--state", tmp_path)
    assert found.exit_code == 1
    assert "2 good + 0 invalid + 1 quarantined + 3 missing" in found.output
    assert "truncated" in found.output


def test_collect_with_a_foreign_file(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    (MADE.folder(tmp_path) / "blocks" / "notes.txt").write_text("x")
    found = call("collect", "--state", tmp_path)
    assert found.exit_code == 1
    assert f"quarantined file: {MADE.name}: notes.txt:1: no block file" in found.output


def test_verify_says_no(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    call("collect", "--state", tmp_path)
    (part,) = (tmp_path / "results" / "dataset" / "parts").glob("runs-*")
    part.write_bytes(part.read_bytes() + b"x")
    found = call("collect", "--state", tmp_path, "--verify")
    assert found.exit_code == 1
    assert "was changed; run 'collect --rebuild'" in found.output


def test_collect_without_a_plan_is_bad_input(tmp_path: Path) -> None:
    MADE.write(tmp_path)
    (MADE.folder(tmp_path) / "plan.json").unlink()
    found = call("collect", "--state", tmp_path)
    assert found.exit_code == 2
    assert "plan.json: No such file" in found.output


def test_nothing_yet(tmp_path: Path) -> None:
    assert call("show", "a" * 16, "--state", tmp_path).exit_code == 3
    found = call("collect", "--state", tmp_path)
    assert (found.exit_code, "no campaigns yet" in found.output) == (0, True)


def test_csv_cells_are_no_formulas_and_null_is_empty(tmp_path: Path) -> None:
    def change(header: Body) -> None:
        header["variant"] = "=cmd|' /C calc'!A0"
        header["conditions"] = ["@loss"]
        header["deployments"]["tcp-loopback/a"]["path"] = "-path"

    def no_after(body: Body) -> None:
        body["after"] = {}

    MADE.write_block(tmp_path, 1, change={1: no_after}, change_header=change)
    folder = tmp_path / "csv"
    assert call("collect", "--state", tmp_path, "--csv", folder).exit_code == 0
    with (folder / "runs.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["variant"] == "'=cmd|' /C calc'!A0"
    assert (row["conditions"], row["path"], row["arm"]) == ("'@loss", "'-path", "tcp-loopback")
    assert (row["host_cpu_s"], row["listen_overflows"], row["retransmits"]) == ("", "", "")
    assert row["errors_read"] == "0"
    assert {path.name for path in folder.iterdir()} == {
        "runs.csv", "containers.csv", "hosts.csv", "histograms.csv", "bindings.csv", "files.csv",
        "proofs.csv", "cells.csv", "cell_histograms.csv",
    }  # fmt: skip


def escapes(body: Body) -> None:
    body["measure"]["stdout"] = (
        "\x1b]0;owned\x07[red]not markup[/red]\u202e\n" + (body["measure"]["stdout"])
    )
    body["measure"]["files"]["../../evil"] = {"text": "x"}


def test_show_and_extract(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1, change={1: escapes})
    call("collect", "--state", tmp_path)
    run = MADE.run_id(1, 1)
    found = call("show", run[:10], "--state", tmp_path, "--extract", tmp_path / "out")
    assert found.exit_code == 0, found.output
    for part in (run, 'argv       ["wrk", "--latency"', "exit code  0", "b0001-a1.jsonl:2"):
        assert part in found.output
    assert "started    2027-01-15 08:00:05.100+00:00" in found.output
    for part in ("measured 2.1 s", "throughput_rps", "Requests/sec:", "[red]not markup[/red]"):
        assert part in found.output
    assert "\x1b" not in found.output
    assert "\\x1b]0;owned\\x07" in found.output
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "stdout.txt", "stderr.txt", "run.json", "file-histogram", "file-1",
    }  # fmt: skip
    assert (out / "stdout.txt").read_text().startswith("\x1b]0;")
    assert json.loads((out / "run.json").read_text())["run"] == run
    assert not (tmp_path / "evil").exists()
    again = call("show", run, "--state", tmp_path, "--extract", out)
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_show_the_last_attempt(tmp_path: Path) -> None:
    MADE.write_block(tmp_path, 1)
    call("collect", "--state", tmp_path)
    MADE.write_block(tmp_path, 1, attempt=2)
    call("collect", "--state", tmp_path)
    found = call("show", MADE.run_id(1, 1), "--state", tmp_path)
    assert "attempt 2 of 2 on record" in found.output
    assert "b0001-a2.jsonl:2" in found.output


@pytest.mark.parametrize("run", ["0000", "../../x", "zz", ""])
def test_show_of_no_run(tmp_path: Path, run: str) -> None:
    MADE.write(tmp_path)
    call("collect", "--state", tmp_path)
    assert call("show", run, "--state", tmp_path).exit_code == 2


def test_show_of_a_changed_block_file(tmp_path: Path) -> None:
    path = MADE.write(tmp_path)[0]
    call("collect", "--state", tmp_path)
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b'"exit_code":0', b'"exit_code":1'))
    found = call("show", MADE.run_id(1, 1), "--state", tmp_path)
    assert found.exit_code == 2
    assert "hash does not match" in found.output


def test_export_and_import(tmp_path: Path) -> None:
    MADE.write(tmp_path / "from")
    file = tmp_path / "web.tar.gz"
    assert call("export", MADE.name, file, "--state", tmp_path / "from").exit_code == 0
    found = call("import", file, "--state", tmp_path / "to")
    assert found.output == f"{MADE.name}: 3 files written, 0 were there already\n"
    assert call("collect", "--state", tmp_path / "to").exit_code == 0
    assert call("export", "nothing", file, "--state", tmp_path / "from").exit_code == 2
    file.write_bytes(b"x")
    assert call("import", file, "--state", tmp_path / "to").exit_code == 2
