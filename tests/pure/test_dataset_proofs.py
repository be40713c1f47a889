"""proofs.json: what becomes rows, what is refused and why; it travels with its campaign."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from blockfiles import Campaign
from typer.testing import CliRunner, Result

from collector.dataset import commands
from collector.dataset.index import load_index
from collector.dataset.load import load_table
from collector.dataset.proofs import PROOFS_LIMIT, parse_proofs
from collector.dataset.store import Places, collect
from collector.dataset.verify import verify

HELD = {
    "name": "no-interface",
    "claim": "The client has no interface but lo, and no route.",
    "passed": True,
    "evidence": ["lab-2 client: lo", "Straße 東"],
}
FAILED = {"name": "intention", "claim": "=Denied traffic fails.", "passed": False, "evidence": []}
MADE = Campaign(blocks=1, proofs=(HELD, FAILED))
APP = typer.Typer()
commands.register(APP)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def call(*argv: object) -> Result:
    return CliRunner().invoke(APP, [str(word) for word in argv])


def file(places: Places) -> Path:
    return MADE.folder(places.state) / "proofs.json"


def rows(places: Places, table: str = "proofs") -> list[dict[str, Any]]:
    index = load_index(places.dataset)
    assert index is not None
    found: list[dict[str, Any]] = load_table(places.dataset, index, table).to_pylist()
    return found


def test_rows(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    held, failed = rows(places)
    assert held == {
        "campaign": MADE.name,
        "proof": "no-interface",
        "claim": HELD["claim"],
        "passed": True,
        "evidence": '["lab-2 client: lo", "Straße 東"]',
        "made_wall_s": 1.8e9,
    }
    assert (failed["passed"], json.loads(failed["evidence"])) == (False, [])
    (entry,) = (row for row in rows(places, "files") if row["kind"] == "proofs")
    assert (entry["campaign"], entry["block"], entry["state"]) == (MADE.name, None, "good")


def test_collect_says_which_did_not_hold(places: Places) -> None:
    MADE.write(places.state)
    found = call("collect", "--state", places.state, "--verify", "--csv", places.state / "csv")
    assert found.exit_code == 0, found.output
    assert f"{MADE.name}: 1 of 2 proofs held" in found.output
    assert f"proof did not hold: {MADE.name}: intention: =Denied traffic fails." in found.output
    assert "verified: 0 problems in 7 parts" in found.output
    assert "'=Denied" in (places.state / "csv" / "proofs.csv").read_text()


def test_without_the_file_nothing_is_said(places: Places) -> None:
    replace(MADE, proofs=()).write(places.state)
    found = call("collect", "--state", places.state)
    assert "proof" not in found.output
    assert rows(places) == []


def test_again_changes_nothing_and_a_change_is_seen(places: Places) -> None:
    MADE.write(places.state)
    first = collect(places)
    assert collect(places) == first
    file(places).write_bytes(file(places).read_bytes().replace(b"false", b"true"))
    second = collect(places)
    assert second.generation == first.generation + 1
    assert [row["passed"] for row in rows(places)] == [True, True]
    file(places).unlink()
    collect(places)
    assert rows(places) == []


def test_verify_reads_the_file_again(places: Places) -> None:
    MADE.write(places.state)
    index = collect(places)
    assert verify(places, index, lambda *_: None) == []
    file(places).write_bytes(file(places).read_bytes().replace(b"false", b"true"))
    (problem,) = verify(places, index, lambda *_: None)
    assert "proofs.json gives other rows now" in problem


def document(**changes: Any) -> bytes:
    made = {"schema": 1, "campaign": MADE.name, "made_wall_s": 1.0, "proofs": [HELD]}
    return json.dumps({**made, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "proofs.json:1: Expecting value"),
        (b'{"schema": 1,\n"campaign"', "proofs.json:2: Expecting ':' delimiter"),
        (b"\xff\xfe\xff", "codec can't decode"),
        (b"[]", "proofs.json:1: no proofs: expected an object of schema 1"),
        (b"[" * 100_000, "recursion"),
        (document(schema=2), "no proofs: expected an object of schema 1"),
        (document(campaign="other"), "belongs to campaign 'other', not"),
        (document(made_wall_s="now"), "'made_wall_s': expected a number, found str"),
        (document(proofs=[]), "'proofs': expected a list of 1 to 1000 proofs"),
        (document(proofs=[HELD] * 1001), "'proofs': expected a list of 1 to 1000 proofs"),
        (document(proofs={}), "'proofs': expected a list of 1 to 1000 proofs"),
        (document(proofs=["x"]), "'proofs': expected objects, found str"),
        (document(proofs=[HELD, HELD]), "proof 'no-interface' stands twice"),
        (document(proofs=[{**HELD, "name": "../x"}]), "'name': expected up to 80 of a-z"),
        (document(proofs=[{**HELD, "claim": 5}]), "'claim': expected a string, found int"),
        (document(proofs=[{**HELD, "claim": "\ud800"}]), "cannot hold"),
        (document(proofs=[{**HELD, "passed": 1}]), "'passed': expected true or false, found int"),
        (document(proofs=[{**HELD, "passed": None}]), "'passed': expected true or false"),
        (document(proofs=[{**HELD, "evidence": "x"}]), "'evidence': expected a list of strings"),
        (b" " * (PROOFS_LIMIT + 1), f"at most {PROOFS_LIMIT} are read"),
    ],
)
def test_a_broken_file_is_quarantined_and_the_runs_stay(
    places: Places, data: bytes, reason: str
) -> None:
    MADE.write(places.state)
    file(places).write_bytes(data)
    found = call("collect", "--state", places.state)
    assert found.exit_code == 1
    assert "3 good" in found.output
    assert rows(places) == []
    (entry,) = (row for row in rows(places, "files") if row["kind"] == "proofs")
    assert entry["state"] == "quarantined"
    assert reason in entry["reason"]
    assert f"quarantined file: {MADE.name}: proofs.json:" in found.output


def test_links_are_not_followed(places: Places) -> None:
    MADE.write(places.state)
    file(places).unlink()
    file(places).symlink_to("/etc/hostname")
    assert call("collect", "--state", places.state).exit_code == 1
    (entry,) = (row for row in rows(places, "files") if row["kind"] == "proofs")
    assert "no regular file" in entry["reason"]


def test_a_file_of_that_name_among_the_blocks_is_foreign(places: Places) -> None:
    MADE.write(places.state)
    (MADE.folder(places.state) / "blocks" / "proofs.json").write_bytes(file(places).read_bytes())
    for _ in range(2):
        assert call("collect", "--state", places.state).exit_code == 1
        assert [row["passed"] for row in rows(places)] == [True, False]


def test_export_and_import_take_it_along(places: Places, tmp_path: Path) -> None:
    MADE.write(places.state)
    archive, there = tmp_path / "web.tar.gz", Places(tmp_path / "there")
    assert call("export", MADE.name, archive, "--state", places.state).exit_code == 0
    found = call("import", archive, "--state", there.state)
    assert found.output == f"{MADE.name}: 3 files written, 0 were there already\n"
    assert file(there).read_bytes() == file(places).read_bytes()
    sums = [{part.sha256 for part in collect(one).parts} for one in (places, there)]
    assert sums[0] == sums[1]
    file(there).write_bytes(b"{}")
    found = call("import", archive, "--state", there.state)
    assert found.exit_code == 2
    assert "already, with another proofs.json" in found.output


def test_unknown_keys_of_a_later_writer_are_no_error() -> None:
    (row,) = parse_proofs(document(proofs=[{**HELD, "took_s": 1}], by="x"), MADE.name)
    assert row["proof"] == "no-interface"


def test_a_dataset_with_other_columns_is_read_again(places: Places) -> None:
    MADE.write(places.state)
    first = collect(places)
    path = places.dataset / "index.json"
    found = json.loads(path.read_text())
    for change in ({"columns": "0" * 16}, {"columns": None}):
        path.write_text(json.dumps({**found, **change}))
        for part in (places.dataset / "parts").glob("runs-*"):
            part.write_bytes(b"of another release")
        again = collect(places)
        assert again.columns == first.columns
        assert load_table(places.dataset, again, "runs").num_rows == 3
