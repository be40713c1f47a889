"""``python -m collector parse``: its lines, its exit codes, and what it survives."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from collector import schema
from collector.parse import TOOLS, command

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
SEVERAL = str(FIXTURES / "wrk" / "several.txt")
PLAIN = str(FIXTURES / "ab" / "plain.txt")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_object_for_each_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([SEVERAL, PLAIN]) == 0
    found = lines(capsys)
    assert [(line["file"], line["index"]) for line in found] == [
        (SEVERAL, 0),
        (SEVERAL, 1),
        (PLAIN, 0),
    ]
    record = found[2]["record"]
    assert isinstance(record, dict)
    assert tuple(record) == schema.RECORD_FIELDS
    assert record["requests"] == 300 and record["threads"] is None


def test_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(Path(PLAIN).read_bytes()))
    monkeypatch.setattr("sys.stdin", stream)
    assert command.main(["--tool", "ab", "-"]) == 0
    assert lines(capsys)[0]["file"] == "-"


def test_refused_output_is_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cut = tmp_path / "cut.txt"
    cut.write_bytes(Path(SEVERAL).read_bytes()[:-30])
    assert command.main([str(cut)]) == 1
    first, second = lines(capsys)
    assert "record" in first and "error" not in first
    assert second == {
        "file": str(cut),
        "index": 1,
        "error": {"line": 23, "reason": "truncated: ends before 'Transfer/sec:'"},
    }


@pytest.mark.parametrize("text", ["", "hello\n", "\n\n"])
def test_file_without_output_is_refused(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    assert command.main([str(path)]) == 1
    (found,) = lines(capsys)
    tools = "wrk or ab or h2load or fortio or sysbench or stream or ipc or serialisation or peer"
    assert f"no output of {tools} found" in str(found["error"])


# What h2load prints inside a deployment is read as h2load's.
@pytest.mark.parametrize("tool", sorted({*TOOLS} - {"h2load-inside"}))
def test_file_without_output_of_the_tool_asked_for_is_refused(
    tool: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_text("hello\n")
    assert command.main(["--tool", tool, str(path)]) == 1
    (found,) = lines(capsys)
    assert f"no output of {tool} found" in str(found["error"])


def test_unreadable_file_is_two_and_the_others_are_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing.txt")
    empty = tmp_path / "empty.txt"
    empty.touch()
    assert command.main([missing, str(tmp_path), str(empty), PLAIN]) == 2
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(empty), PLAIN]
    assert f"collector parse: {missing}: No such file or directory" in err
    assert f"{tmp_path}: Is a directory" in err


def test_wrong_usage_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert command.main(["--tool", "hey", PLAIN]) == 2
    assert command.main(["--help"]) == 0


def test_huge_file_is_refused_without_being_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as stream:
        stream.truncate(2 * 1024**3)
    monkeypatch.setattr(command, "decode", lambda data: pytest.fail("it was read"))
    assert command.main([str(huge)]) == 1
    assert "too_large" in str(lines(capsys)[0]["error"])
