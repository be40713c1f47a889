"""The block file: what is believed, and that nothing else is."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import orjson
import pytest

from collector import blockfile
from collector.blockfile import (
    BlockFileError,
    BlockWriter,
    block_name,
    encode_line,
    read_header,
    read_lines,
)


def sealed(folder: Path, runs: int = 2) -> Path:
    with BlockWriter(folder, "b0001-a1", {"campaign": "c"}) as writer:
        for number in range(runs):
            writer.run({"run": f"{number:04x}", "text": "caf\u00e9 \n\x1b"})
        return writer.seal({"ended_wall_ns": 5})


def raw(folder: Path, *bodies: bytes | dict[str, object]) -> Path:
    """A block file with a right chain over whatever bodies."""
    path, previous = folder / "b0001-a1.jsonl", ""
    with path.open("wb") as stream:
        for body in bodies:
            if isinstance(body, bytes):
                previous = hashlib.sha256(previous.encode() + body).hexdigest()
                line = b'{"hash":"' + previous.encode() + b'","body":' + body + b"}\n"
            else:
                line, previous = encode_line(previous, body)
            stream.write(line)
    return path


HEADER = {"type": "header", "schema": 1}


def test_round_trip(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    digest = hashlib.sha256()
    lines = list(read_lines(path, digest))
    assert [number for number, _ in lines] == [1, 2, 3, 4]
    assert lines[0][1] == {"type": "header", "schema": 1, "campaign": "c"}
    assert lines[1][1] == {"type": "run", "run": "0000", "text": "caf\u00e9 \n\x1b"}
    assert lines[3][1] == {"type": "seal", "runs": 2, "ended_wall_ns": 5}
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_header(path) == lines[0][1]


def test_sealed_is_read_only_and_alone(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    assert path.stat().st_mode & 0o222 == 0
    assert [one.name for one in tmp_path.iterdir()] == ["b0001-a1.jsonl"]


def test_interrupted_leaves_a_part(tmp_path: Path) -> None:
    with BlockWriter(tmp_path, "b0001-a1", {}) as writer:
        writer.run({"run": "1"})
    assert [one.name for one in tmp_path.iterdir()] == ["b0001-a1.part"]


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    data = path.read_bytes()
    other = tmp_path / "flipped.jsonl"
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        other.write_bytes(flipped)
        with pytest.raises(BlockFileError):
            list(read_lines(other))


def test_every_cut_is_seen(tmp_path: Path) -> None:
    data = sealed(tmp_path).read_bytes()
    other = tmp_path / "cut.jsonl"
    for length in range(len(data)):
        other.write_bytes(data[:length])
        with pytest.raises(BlockFileError):
            list(read_lines(other))


@pytest.mark.parametrize(
    ("bodies", "line", "reason"),
    [
        ((), 1, "no seal: the block did not end"),
        (({"type": "run"},), 1, "unexpected 'run' line, not a header"),
        (({"type": "header", "schema": 2},), 1, "schema 2: this release reads schema 1 only"),
        ((HEADER, HEADER), 2, "unexpected 'header' line"),
        ((HEADER, {"type": "note"}), 2, "unexpected 'note' line"),
        ((HEADER, {"type": "seal", "runs": 1}), 2, "seal counts 1 runs, not 0"),
        ((HEADER, {"type": "seal", "runs": 0}, {"type": "run"}), 3, "data after the seal"),
        ((HEADER, b"[]"), 2, "body is no object: list"),
        ((HEADER, b'{"type":"run","x":NaN}'), 2, "body is no JSON: NaN is no JSON number"),
        ((HEADER, b'{"type":"run",}'), 2, "body is no JSON"),
        ((HEADER, b'{"type":"run","x":"\xff"}'), 2, "body is no JSON"),
        ((HEADER, b"[" * 100_000), 2, "body is no JSON"),
    ],
)
def test_refused(
    tmp_path: Path, bodies: tuple[bytes | dict[str, object], ...], line: int, reason: str
) -> None:
    path = raw(tmp_path, *bodies)
    with pytest.raises(BlockFileError) as caught:
        list(read_lines(path))
    assert (caught.value.line, caught.value.path) == (line, str(path))
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    "body",
    [b'{"type":"run","x":NaN}', b'{"type":"run",}', b'{"type":"run","x":"\xff"}', b"[" * 100_000],
)
def test_another_library_refuses_the_same(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(BlockFileError, match=":2: body is no JSON"):
        list(read_lines(raw(tmp_path, HEADER, body), loads=orjson.loads))


def test_long_line_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw(tmp_path, HEADER, {"type": "run", "x": "y" * 500})
    monkeypatch.setattr(blockfile, "LINE_LIMIT", 300)
    with pytest.raises(BlockFileError, match="longer than 300 bytes"):
        list(read_lines(path))


def test_writer_refuses_not_a_number(tmp_path: Path) -> None:
    with BlockWriter(tmp_path, "b0001-a1", {}) as writer, pytest.raises(ValueError, match="float"):
        writer.run({"x": float("nan")})


def test_error_survives_a_pool() -> None:
    error = pickle.loads(pickle.dumps(BlockFileError("b0001-a1.jsonl", 3, "why")))
    assert (error.path, error.line, error.reason) == ("b0001-a1.jsonl", 3, "why")
    assert str(error) == "b0001-a1.jsonl:3: why"


def test_names() -> None:
    assert block_name(1, 2) == "b0001-a2"
    assert blockfile.BLOCK_NAME.fullmatch("b12345-a10.jsonl")
    for name in ("b1-a1.jsonl", "b0001-a0.jsonl", "b0001-a1.jsonl.part", "../b0001-a1.jsonl"):
        assert not blockfile.BLOCK_NAME.fullmatch(name)
