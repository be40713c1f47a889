"""The block file: append-only JSON lines, each bound by hash to the one before, sealed at the end.

A line is ``{"hash":"<64 hex>","body":{...}}``; its hash is SHA-256 over the previous line's hash
(empty for the first) followed by the body's bytes as written, so a reader checks the chain without
serialising anything again. The body's ``type`` is ``header`` (first line), ``run``, or ``seal``
(last line). While a block runs the name ends in ``.part``; the sealed file is read-only and ends
in ``.jsonl``. A torn last line of a ``.part`` file is an absent run.

Standard library only: the runner carries this module to hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NoReturn, Protocol

SCHEMA: Final = 1
PREFIX: Final = 9  # len('{"hash":"')
BODY: Final = PREFIX + 64 + 9  # ... + digest + len('","body":')
LINE_LIMIT: Final = 64 * 1024 * 1024
BLOB_LIMIT: Final = 1024 * 1024
Loads = Callable[[bytes], Any]
BLOCK_NAME: Final = re.compile(r"b(\d{4,9})-a([1-9]\d{0,5})\.jsonl")
BLOB_NAME: Final = re.compile(r"b\d{4,9}-a[1-9]\d{0,5}\.([0-9a-f]{64})\.blob")


class BlockFileError(Exception):
    """A block file that cannot be believed: ``path``, ``line`` (from 1) and ``reason``."""

    def __init__(self, path: os.PathLike[str] | str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = os.fspath(path)
        self.line = line
        self.reason = reason

    def __reduce__(self) -> tuple[type[BlockFileError], tuple[str, int, str]]:
        # The default would rebuild it from one argument, and fail in a pool's parent process.
        return BlockFileError, (self.path, self.line, self.reason)


class Digest(Protocol):
    """What ``read_lines`` asks of a hash object."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""


def block_name(block: int, attempt: int) -> str:
    """Name of a block file without its suffix: ``b0001-a1``."""
    return f"b{block:04d}-a{attempt}"


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last over a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()


class BlockWriter:
    """Writes one attempt at a block. Use as a context manager; ``seal`` ends it.

    Leaving the context without ``seal`` leaves the ``.part`` file as it is: an interrupted block.
    """

    def __init__(self, folder: Path, name: str, header: Mapping[str, Any]) -> None:
        self._final = folder / f"{name}.jsonl"
        self._part = folder / f"{name}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._fd = os.open(self._part, flags, 0o640)
        self._previous = ""
        self._runs = 0
        self._append({"type": "header", "schema": SCHEMA, **header})

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, body: Mapping[str, Any]) -> None:
        line, digest = encode_line(self._previous, body)
        view = memoryview(line)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fsync(self._fd)
        self._previous = digest

    def run(self, body: Mapping[str, Any]) -> None:
        """Append one run and sync it."""
        self._append({"type": "run", **body})
        self._runs += 1

    def seal(self, footer: Mapping[str, Any]) -> Path:
        """Append the seal, make the file read-only, rename it; returns its final path."""
        self._append({"type": "seal", "runs": self._runs, **footer})
        os.fchmod(self._fd, 0o440)
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._part.rename(self._final)
        sync_folder(self._final.parent)
        return self._final


def encode_line(previous: str, body: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line for ``body`` after the line whose hash is ``previous``, and the new line's hash."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    digest = _digest(previous, text)
    return b'{"hash":"' + digest.encode() + b'","body":' + text + b"}\n", digest


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def _loads(text: bytes) -> Any:
    return _DECODER.decode(text.decode())


def _decode(
    path: Path, number: int, line: bytes, previous: str, loads: Loads
) -> tuple[str, dict[str, Any]]:
    if len(line) > LINE_LIMIT:
        raise BlockFileError(path, number, f"line longer than {LINE_LIMIT} bytes")
    framed = line.startswith(b'{"hash":"') and line[PREFIX + 64 : BODY] == b'","body":'
    if not framed or not line.endswith(b"}\n"):
        raise BlockFileError(path, number, 'torn line: expected {"hash":...,"body":...}')
    text = line[BODY:-2]
    digest = _digest(previous, text)
    if line[PREFIX : PREFIX + 64] != digest.encode():
        raise BlockFileError(path, number, "hash does not match: the line was changed")
    try:
        body = loads(text)
    except (ValueError, RecursionError) as error:
        raise BlockFileError(path, number, f"body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise BlockFileError(path, number, f"body is no object: {type(body).__name__}")
    return digest, body


def _check_header(path: Path, body: Mapping[str, Any]) -> None:
    if body.get("type") != "header":
        raise BlockFileError(path, 1, f"unexpected {body.get('type')!r} line, not a header")
    if body.get("schema") != SCHEMA:
        reason = f"schema {body.get('schema')!r}: this release reads schema {SCHEMA} only"
        raise BlockFileError(path, 1, reason)


def read_header(path: Path) -> dict[str, Any]:
    """The first line's body, its hash checked; the rest is not read.

    Raises ``BlockFileError`` for a first line that is no header of this schema, ``OSError``.
    """
    with path.open("rb") as stream:
        line = stream.readline(LINE_LIMIT + 1)
    if not line:
        raise BlockFileError(path, 1, "empty file")
    _, body = _decode(path, 1, line, "", _loads)
    _check_header(path, body)
    return body


def read_lines(
    path: Path, whole: Digest | None = None, loads: Loads = _loads
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, body) of a sealed block file, checking the hash chain as it goes.

    ``whole``, where given, takes in every byte read, so that the hash of the file costs no second
    read. ``loads`` reads JSON and raises ``ValueError``: another library's, where there is one.
    Raises ``BlockFileError`` at the first line that is torn, too long, out of chain, no JSON
    object, of another schema, or not where it belongs (header first, seal last, the seal's count
    of runs). Memory is bounded by one line.
    """
    with path.open("rb") as stream:
        yield from _read_stream(path, stream, whole, loads)


def _read_stream(
    path: Path, stream: BinaryIO, whole: Digest | None, loads: Loads
) -> Iterator[tuple[int, dict[str, Any]]]:
    previous = ""
    runs = 0
    number = 0
    kind = None
    while line := stream.readline(LINE_LIMIT + 1):
        number += 1
        if kind == "seal":
            raise BlockFileError(path, number, "data after the seal")
        previous, body = _decode(path, number, line, previous, loads)
        if whole is not None:
            whole.update(line)
        kind = body.get("type")
        if number == 1:
            _check_header(path, body)
        elif kind not in ("run", "seal"):
            raise BlockFileError(path, number, f"unexpected {kind!r} line")
        if kind == "run":
            runs += 1
        elif kind == "seal" and body.get("runs") != runs:
            raise BlockFileError(path, number, f"seal counts {body.get('runs')} runs, not {runs}")
        yield number, body
    if kind != "seal":
        raise BlockFileError(path, number + 1, "no seal: the block did not end")
