"""A run's output: bytes from the block file or the blobs beside it, and what the parser says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from collector.blockfile import BLOB_NAME
from collector.dataset.fields import (
    Body,
    FieldError,
    content,
    mapping,
    maybe_mapping,
    strings,
    text,
    whole,
)
from collector.parse import LoadTool, ParseError
from collector.parse.record import Cell

BLOB_CAP: Final = 64 * 1024 * 1024


class BlobError(Exception):
    """A large file that lay beside its block file is missing or was changed."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a tool's output holds; ``refusal`` says why it holds nothing that can be believed."""

    record: Mapping[str, Any] = field(default_factory=dict)
    histogram: Sequence[tuple[int, int]] = ()
    cells: Sequence[Cell] = ()
    refusal: str | None = None


def read_output(tools: Mapping[str, LoadTool], name: str, measure: Body, block: Path) -> Output:
    """Parse the measured invocation's output, and its files from the line or beside ``block``.

    Raises ``FieldError`` for a body that is not as agreed; a refused output is no error.
    """
    tool = tools.get(name)
    if tool is None:
        return Output(refusal=f"unknown_tool {name!r}; known: {', '.join(sorted(tools))}")
    try:
        files = _files(measure, block)
        stdout = content(measure, "stdout", "stdout_b64")
        record = tool.parse(stdout, files, strings(measure, "argv"))
        return Output(record.as_dict(), tool.histogram(stdout, files), record.cells)
    except ParseError as error:
        return Output(refusal=f"{error.reason} (line {error.line})")
    except BlobError as error:
        return Output(refusal=str(error))


def _files(measure: Body, block: Path) -> dict[str, bytes]:
    listed = maybe_mapping(measure, "files") or {}
    return {role: file_bytes(mapping(listed, role), block) for role in listed}


def file_bytes(entry: Body, block: Path) -> bytes:
    """A tool's file: from its line, or from the blob beside ``block``.

    Raises ``BlobError`` (reason begins with ``blob``), ``FieldError``.
    """
    if "sha256" not in entry:
        return content(entry, "text", "b64")
    name, size, sha256 = text(entry, "name"), whole(entry, "bytes"), text(entry, "sha256")
    match = BLOB_NAME.fullmatch(name)
    if match is None or match[1] != sha256:
        raise FieldError(f"'name': expected b0001-a1.<sha256>.blob, found {name!r}")
    if size > BLOB_CAP:
        raise BlobError(f"blob {name} has {size} bytes; at most {BLOB_CAP} are read")
    try:
        # A link could point anywhere; a blob is a file of its own.
        handle = os.open(block.parent / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(size + 1)
    except OSError as error:
        raise BlobError(f"blob {name}: {error.strerror}") from None
    if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
        raise BlobError(f"blob {name} was changed: hash or size does not match")
    return data
