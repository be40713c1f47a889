"""Files that are either whole or not there: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collector.blockfile import sync_folder

TEMPORARY: Final = ".writing"
_CHUNK: Final = 1024 * 1024


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` as ``path``, replacing it atomically. Raises ``OSError`` (full disk, ...).

    On any error ``path`` is as it was and nothing is left beside it.
    """
    beside = path.with_name(path.name + TEMPORARY)
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(beside, path)  # noqa: PTH105 - one module to watch in the disk-full tests
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a regular file, in pieces; links are not followed."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def sha256_of(path: Path) -> str:
    """Hash of a regular file, in bounded memory."""
    digest = hashlib.sha256()
    for piece in chunks(path):
        digest.update(piece)
    return digest.hexdigest()
