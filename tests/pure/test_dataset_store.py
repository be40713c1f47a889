"""Collecting: once is as good as twice, nothing old is rewritten, nothing broken is believed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blockfiles import Campaign
from filelock import FileLock

from collector.dataset import batch, store
from collector.dataset.errors import DatasetBusyError, DatasetError
from collector.dataset.index import Index, load_index
from collector.dataset.load import load_table
from collector.dataset.store import Places, collect
from collector.dataset.verify import verify
from collector.schema import TABLES

MADE = Campaign(blocks=3)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def blocks(places: Places) -> Path:
    return MADE.folder(places.state) / "blocks"


def files(places: Places, index: Index) -> dict[str, tuple[str, str | None]]:
    table = load_table(places.dataset, index, "files")
    return {row["name"]: (row["state"], row["reason"]) for row in table.to_pylist()}


def states(places: Places, index: Index) -> list[tuple[int, int, str]]:
    table = load_table(places.dataset, index, "runs", columns=["block", "attempt", "state"])
    return sorted({tuple(row.values()) for row in table.to_pylist()})


def on_disk(places: Places) -> dict[str, tuple[int, int]]:
    found = [*(places.dataset / "parts").iterdir(), places.dataset / "index.json"]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def writable(path: Path) -> Path:
    path.chmod(0o640)
    return path


def flip(path: Path, place: int = -200) -> None:
    data = bytearray(writable(path).read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_every_table_has_its_columns(places: Places) -> None:
    replace(MADE, proofs=({"name": "p", "claim": "c", "passed": True},)).write(places.state)
    index = collect(places)
    for table, columns in TABLES.items():
        found = load_table(places.dataset, index, table)
        assert found.schema.names == [column.name for column in columns]
        assert (found.num_rows > 0) == ("cell" not in table)  # no tool here measures cells
    assert load_table(places.dataset, index, "runs").num_rows == 9
    assert files(places, index)["b0001-a1.jsonl"] == ("good", None)


def test_index_is_as_agreed(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    found = json.loads((places.dataset / "index.json").read_bytes())
    assert (found["schema"], found["generation"], found["superseded"]) == (1, 1, [])
    part = found["parts"][0]
    assert set(part) == {"table", "campaign", "file", "sha256", "rows", "blocks"}
    assert part["file"] == f"parts/{part['table']}-{part['sha256']}.parquet"
    assert len(part["blocks"]) == 3


def test_again_changes_nothing(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    before = on_disk(places)
    collect(places)
    after = on_disk(places)
    assert after["index.json"] == before["index.json"]
    assert {n: v for n, v in after.items() if not n.startswith("files-")} == {
        n: v for n, v in before.items() if not n.startswith("files-")
    }


def test_new_blocks_leave_old_parts_alone(places: Places) -> None:
    MADE.write(places.state, [1, 2])
    first = collect(places)
    before = on_disk(places)
    MADE.write_block(places.state, 3)
    second = collect(places)
    after = on_disk(places)
    old = [Path(part.file).name for part in first.parts if part.table != "files"]
    assert {name: after[name] for name in old} == {name: before[name] for name in old}
    assert load_table(places.dataset, second, "runs").num_rows == 9
    assert second.generation == 2


def test_rebuild_compacts_and_is_the_same_as_at_once(tmp_path: Path) -> None:
    slowly, at_once = Places(tmp_path / "slowly"), Places(tmp_path / "at-once")
    for block in (1, 2, 3):
        MADE.write_block(slowly.state, block)
        collect(slowly)
    MADE.write(at_once.state)
    rebuilt, made = collect(slowly, rebuild=True), collect(at_once)
    assert [part.sha256 for part in rebuilt.parts] == [part.sha256 for part in made.parts]
    assert sum(part.table == "runs" for part in rebuilt.parts) == 1


def test_many_processes_give_the_same_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MADE.write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(batch, "BATCH_BYTES", 1)
    seen: list[tuple[int, int]] = []
    many = collect(Places(tmp_path / "a"), progress=lambda *now: seen.append(now))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    one = collect(Places(tmp_path / "b"))
    assert [part.sha256 for part in many.parts] == [part.sha256 for part in one.parts]
    assert sum(part.table == "runs" for part in many.parts) == 3
    assert seen[-1][0] == seen[-1][1] > 0


def test_later_attempt_supersedes_without_rewriting(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    before = on_disk(places)
    MADE.write_block(places.state, 2, attempt=2)
    index = collect(places)
    assert index.superseded == ((MADE.name, 2, 1),)
    assert states(places, index) == [
        (1, 1, "good"), (2, 1, "superseded"), (2, 2, "good"), (3, 1, "good"),
    ]  # fmt: skip
    assert files(places, index)["b0002-a1.jsonl"] == ("superseded", None)
    old = [name for name in before if name.startswith(("runs-", "histograms-"))]
    after = on_disk(places)
    assert {name: after[name] for name in old} == {name: before[name] for name in old}


def test_both_attempts_at_once(places: Places) -> None:
    MADE.write(places.state)
    MADE.write_block(places.state, 2, attempt=2)
    index = collect(places)
    assert load_table(places.dataset, index, "runs").num_rows == 12
    assert (2, 1, "superseded") in states(places, index)


@pytest.mark.parametrize("copy", ["copy.jsonl", "b0009-a9.jsonl", "b0001-a1.jsonl.bak"])
def test_renamed_copy_is_nothing_new(places: Places, copy: str) -> None:
    MADE.write(places.state)
    shutil.copy(blocks(places) / "b0001-a1.jsonl", blocks(places) / copy)
    index = collect(places)
    assert load_table(places.dataset, index, "runs").num_rows == 9
    assert set(files(places, index)) == {f"b000{n}-a1.jsonl" for n in (1, 2, 3)}
    generation = index.generation
    assert collect(places).generation == generation


def test_renamed_file_is_nothing_new(places: Places) -> None:
    MADE.write(places.state)
    first = collect(places)
    (blocks(places) / "b0001-a1.jsonl").rename(blocks(places) / "moved.jsonl")
    index = collect(places)
    assert [p for p in index.parts if p.table != "files"] == [
        p for p in first.parts if p.table != "files"
    ]
    assert files(places, index)["moved.jsonl"] == ("good", None)


def test_touched_file_is_not_counted_twice(places: Places) -> None:
    MADE.write(places.state)
    first = collect(places)
    os.utime(blocks(places) / "b0001-a1.jsonl", ns=(5, 5))
    index = collect(places)
    assert {p.sha256 for p in index.parts} == {p.sha256 for p in first.parts}


def test_same_key_other_bytes_is_a_conflict(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    path = MADE.write_block(places.state / "other", 1, change_header=lambda h: h.update(seed=9))
    shutil.copy(path, blocks(places) / "a-first-by-name.jsonl")
    for _ in range(2):
        index = collect(places)
        state, reason = files(places, index)["a-first-by-name.jsonl"]
        assert state == "quarantined"
        assert reason == (
            "a-first-by-name.jsonl:1: conflict: block 1 attempt 1 is already known from "
            "b0001-a1.jsonl, with other bytes"
        )
        assert load_table(places.dataset, index, "runs").num_rows == 9
        assert states(places, index)[0] == (1, 1, "good")
    (blocks(places) / "a-first-by-name.jsonl").unlink()
    assert "a-first-by-name.jsonl" not in files(places, collect(places))


def test_broken_and_foreign_files_are_quarantined_with_a_reason(places: Places) -> None:
    MADE.write(places.state)
    folder = blocks(places)
    flip(folder / "b0001-a1.jsonl")
    torn = writable(folder / "b0002-a1.jsonl")
    torn.write_bytes(torn.read_bytes()[:-1])
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.jsonl").touch()
    (folder / "link.jsonl").symlink_to("b0003-a1.jsonl")
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "b0004-a1.part").write_text("still being written")
    other = Campaign(name="other-20261121t113000-0000", blocks=1).write(places.state)[0]
    shutil.copy(other, folder / "b0005-a1.jsonl")
    raw = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    index = collect(places)
    found = {name: reason for name, (state, reason) in files(places, index).items() if reason}
    assert found == {
        "b0001-a1.jsonl": "b0001-a1.jsonl:4: hash does not match: the line was changed",
        "b0002-a1.jsonl": 'b0002-a1.jsonl:5: torn line: expected {"hash":...,"body":...}',
        "b0005-a1.jsonl": f"b0005-a1.jsonl:1: belongs to campaign {'other-20261121t113000-0000'!r}"
        f", not {MADE.name!r}",
        "notes.txt": "notes.txt:1: no block file: expected a name such as b0001-a1.jsonl",
        "empty.jsonl": "empty.jsonl:1: empty file",
        "link.jsonl": "link.jsonl:1: no regular file: links, devices and folders are not read",
        "folder.jsonl": "folder.jsonl:1: no regular file: links, devices and folders are not read",
        "pipe.jsonl": "pipe.jsonl:1: no regular file: links, devices and folders are not read",
    }
    mine = load_table(places.dataset, index, "runs", campaign=MADE.name)
    assert set(mine["block"].to_pylist()) == {3}
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == raw


def test_mended_file_is_read_again(places: Places) -> None:
    MADE.write(places.state)
    path = writable(blocks(places) / "b0002-a1.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert files(places, collect(places))[path.name][0] == "quarantined"
    path.write_bytes(whole)
    assert files(places, collect(places))[path.name] == ("good", None)


def test_oversize_is_not_read(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.write(places.state)
    monkeypatch.setattr("collector.dataset.scan.FILE_CAP", 1000)
    reasons = [reason for _, reason in files(places, collect(places)).values()]
    assert len(reasons) == 3
    assert all("at most 1000 are read" in (reason or "") for reason in reasons)


def test_file_changed_after_collecting(places: Places) -> None:
    MADE.write(places.state)
    index = collect(places)
    path = blocks(places) / "b0002-a1.jsonl"
    stamp = path.stat().st_mtime_ns
    flip(path)
    os.utime(path, ns=(stamp, stamp))
    # Size and time are as they were: only reading everything can tell.
    assert collect(places).generation == index.generation
    problems = verify(places, index, lambda *_: None)
    assert len(problems) == 1
    assert "b0002-a1.jsonl:4: hash does not match" in problems[0]
    rebuilt = collect(places, rebuild=True)
    assert states(places, rebuilt) == [(1, 1, "good"), (3, 1, "good")]
    assert files(places, rebuilt)[path.name][0] == "quarantined"


def test_file_that_changed_or_went_takes_its_rows_along(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    (blocks(places) / "b0001-a1.jsonl").unlink()
    flip(blocks(places) / "b0002-a1.jsonl")
    index = collect(places)
    assert states(places, index) == [(3, 1, "good")]
    assert set(files(places, index)) == {"b0002-a1.jsonl", "b0003-a1.jsonl"}


def test_verify_finds_a_changed_or_missing_part(places: Places) -> None:
    MADE.write(places.state)
    index = collect(places)
    assert verify(places, index, lambda *_: None) == []
    part = places.dataset / index.parts[0].file
    flip(part)
    (problem,) = verify(places, index, lambda *_: None)
    assert problem == f"{part}: was changed; run 'collect --rebuild'"
    part.unlink()
    (problem,) = verify(places, index, lambda *_: None)
    assert problem.startswith(f"{part}: No such file")
    assert load_table(places.dataset, collect(places), "runs").num_rows == 9


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["write", "replace", "fsync"])
def test_full_disk_leaves_the_old_dataset(
    places: Places, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MADE.write(places.state, [1])
    collect(places)
    MADE.write_block(places.state, 2)
    before = on_disk(places)
    with monkeypatch.context() as patched:
        patched.setattr(os, name, no_space)
        with pytest.raises(DatasetError, match="No space left on device; free some space"):
            collect(places)
    assert on_disk(places) == before
    index = load_index(places.dataset)
    assert index is not None
    assert load_table(places.dataset, index, "runs").num_rows == 3
    assert load_table(places.dataset, collect(places), "runs").num_rows == 6


def test_full_disk_at_the_index(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.write(places.state, [1])
    collect(places)
    MADE.write_block(places.state, 2)
    before = on_disk(places)
    with monkeypatch.context() as patched:
        patched.setattr(Index, "save", no_space)
        with pytest.raises(DatasetError):
            collect(places)
    assert on_disk(places) == before


def test_interrupted_leaves_the_old_dataset(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    MADE.write(places.state)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(places, progress=interrupt)
    assert list((places.dataset / "parts").iterdir()) == []
    assert load_index(places.dataset) is None


def test_two_at_once(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    MADE.write(places.state)
    collect(places)
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.05)
    with FileLock(places.dataset / "lock"), pytest.raises(DatasetBusyError, match="another co"):
        collect(places)


def test_another_plan_means_all_is_judged_again(places: Places) -> None:
    MADE.write(places.state)
    collect(places)
    plan = MADE.folder(places.state) / "plan.json"
    plan.write_bytes(plan.read_bytes() + b"\n")
    index = collect(places)
    assert {state for state, _ in files(places, index).values()} == {"quarantined"}
    assert load_table(places.dataset, index, "runs").num_rows == 0


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (None, "No such file"),
        (b"{", "no plan"),
        (b"[]", "expected an object"),
        (b'{"schema": 2}', "schema 2: this release reads schema 1 only"),
        (b'{"schema": 1, "blocks": [{"block": 1}]}', "'load': expected an object"),
    ],
)
def test_campaign_without_a_plan(places: Places, plan: bytes | None, reason: str) -> None:
    MADE.write(places.state)
    path = MADE.folder(places.state) / "plan.json"
    path.unlink()
    if plan is not None:
        path.write_bytes(plan)
    with pytest.raises(DatasetError, match=reason) as caught:
        collect(places)
    assert str(path) in str(caught.value)


def test_plan_in_another_campaigns_folder(places: Places) -> None:
    MADE.write(places.state)
    MADE.folder(places.state).rename(places.campaigns / "renamed")
    with pytest.raises(DatasetError, match="give the folder that name"):
        collect(places)


def test_nothing_to_collect(places: Places) -> None:
    (places.campaigns / "empty-folder").mkdir(parents=True)
    MADE.write_plan(places.state)
    index = collect(places)
    assert load_table(places.dataset, index, "runs").num_rows == 0


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema": 2}', b'{"schema": 1}', b"[]", b"\xff"])
def test_index_that_is_none(places: Places, data: bytes) -> None:
    places.dataset.mkdir(parents=True)
    (places.dataset / "index.json").write_bytes(data)
    with pytest.raises(DatasetError, match="no index of a dataset"):
        load_index(places.dataset)
