"""One archive a campaign: everything from which its dataset can be made elsewhere.

``<campaign>/MANIFEST.json`` comes first and names every other file with its size and hash; then
plan, proofs, block files and blobs in the order of their names. The same campaign gives the same
bytes.
An archive comes from strangers: it is read header by header, as a plain ustar archive of regular
files, each checked against the manifest's strict names before anything is written, into a folder
of its own that becomes the campaign's by one rename.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from collector.blockfile import BLOB_NAME, BLOCK_NAME, BlockFileError, read_lines, sync_folder
from collector.dataset.durable import TEMPORARY, chunks, sha256_of
from collector.dataset.errors import DatasetError
from collector.dataset.fields import FieldError, mapping, text, whole
from collector.dataset.output import BLOB_CAP
from collector.dataset.planned import PLAN_LIMIT, PLAN_NAME, parse_plan
from collector.dataset.proofs import PROOFS_LIMIT, PROOFS_NAME
from collector.dataset.scan import FILE_CAP
from collector.dataset.store import Places, campaign_plan
from collector.schema import VERSION

MANIFEST: Final = "MANIFEST.json"
MANIFEST_LIMIT: Final = 64 * 1024 * 1024
TOTAL_LIMIT: Final = 64 * 1024 * 1024 * 1024
CAMPAIGN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_BLOCK: Final = tarfile.BLOCKSIZE
_PIECE: Final = 1024 * 1024
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)


@dataclass(frozen=True, slots=True)
class Packed:
    """A file of an archive: its size and hash as the manifest states them."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: files written, and files that were there already."""

    campaign: str
    written: int
    present: int


def _limit(name: str) -> int:
    """Largest size of a file of this name; 0 for a name that has no place in a campaign."""
    folder, _, last = name.rpartition("/")
    if folder == "blocks" and BLOCK_NAME.fullmatch(last):
        return FILE_CAP
    if folder == "blocks" and BLOB_NAME.fullmatch(last):
        return BLOB_CAP
    return {PLAN_NAME: PLAN_LIMIT, PROOFS_NAME: PROOFS_LIMIT, "finished": 1024 * 1024}.get(name, 0)


def export_campaign(places: Places, campaign: str, target: Path) -> list[str]:
    """Write ``campaign`` as ``target`` (.tar.gz); returns what was left out, one line each.

    Left out is what is not the campaign's own, and block files whose chain is broken. Raises
    ``DatasetError``, ``OSError``.
    """
    folder = places.campaigns / campaign
    if not CAMPAIGN_NAME.fullmatch(campaign) or not folder.is_dir():
        raise DatasetError(f"{folder}: no such campaign")
    campaign_plan(folder)
    left_out: list[str] = []
    files = dict(_own_files(folder, left_out))
    beside = target.with_name(target.name + TEMPORARY)
    try:
        with beside.open("wb") as raw:
            # No name and no time in the gzip header: the same campaign, the same bytes.
            with (
                gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as out,
                tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
            ):
                _pack(tar, campaign, folder, files)
            raw.flush()
            os.fsync(raw.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return left_out


def _own_files(folder: Path, left_out: list[str]) -> Iterator[tuple[str, Packed]]:
    paths = [folder / PLAN_NAME, folder / PROOFS_NAME, folder / "finished"]
    blocks = folder / "blocks"
    paths += sorted(blocks.iterdir()) if blocks.is_dir() else []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            if path.exists():
                left_out.append(f"{name}: no regular file")
            continue
        if path.stat().st_size > _limit(name):
            left_out.append(f"{name}: no file of a campaign, or too large")
            continue
        try:
            if BLOCK_NAME.fullmatch(path.name):
                for _ in read_lines(path):
                    pass
        except BlockFileError as error:
            left_out.append(f"{name}:{error.line}: {error.reason}")
            continue
        yield name, Packed(path.stat().st_size, sha256_of(path))


def _pack(tar: tarfile.TarFile, campaign: str, folder: Path, files: Mapping[str, Packed]) -> None:
    listed = {name: {"bytes": one.bytes, "sha256": one.sha256} for name, one in files.items()}
    manifest = {"schema": VERSION, "campaign": campaign, "files": listed}
    data = (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode()
    info = _member(f"{campaign}/{MANIFEST}", len(data))
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.seek(0)
        tar.addfile(info, stream)
    for name in sorted(files):
        with (folder / name).open("rb") as stream:
            tar.addfile(_member(f"{campaign}/{name}", files[name].bytes), stream)


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def import_archive(places: Places, source: Path) -> Imported:
    """Unpack an exported campaign below ``places``.

    Raises ``DatasetError``: no such archive, a member that is not in the manifest, not regular,
    too large, or changed; a campaign of this name with another plan or other files is there
    already. Nothing is written then.
    """
    places.campaigns.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=places.campaigns) as temporary:
        unpacked = Path(temporary) / "campaign"
        (unpacked / "blocks").mkdir(parents=True)
        try:
            with gzip.open(source, "rb") as stream:
                campaign, files = _unpack(cast(BinaryIO, stream), unpacked)
                _end(cast(BinaryIO, stream))
        except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DatasetError(f"{source}: no exported campaign: {error}") from None
        except (FieldError, ValueError, RecursionError) as error:
            raise DatasetError(f"{source}: refused: {error}") from None
        return _place(places.campaigns / campaign, unpacked, files)


def _unpack(stream: BinaryIO, folder: Path) -> tuple[str, dict[str, Packed]]:
    members = _members(stream)
    first, size = next(members, ("", 0))
    campaign, _, name = first.partition("/")
    if name != MANIFEST or not CAMPAIGN_NAME.fullmatch(campaign):
        raise FieldError(f"expected <campaign>/{MANIFEST} first, found {first!r:.120}")
    if size > MANIFEST_LIMIT:
        raise FieldError(f"{MANIFEST}: larger than {MANIFEST_LIMIT} bytes")
    files = _manifest(b"".join(_pieces(stream, size)), campaign)
    free = shutil.disk_usage(folder).free
    total = sum(one.bytes for one in files.values())
    if total > min(TOTAL_LIMIT, free):
        raise FieldError(f"{total} bytes to unpack; there is room for {min(TOTAL_LIMIT, free)}")
    wanted = dict(files)
    for member, size in members:
        name = member.removeprefix(f"{campaign}/")
        packed = wanted.pop(name, None) if name != member else None
        if packed is None:
            raise FieldError(f"{member!r:.120} is not in the manifest, or is there twice")
        if size != packed.bytes:
            raise FieldError(f"{name}: {size} bytes; the manifest says {packed.bytes}")
        _write(stream, folder / name, packed)
    if wanted:
        raise FieldError(f"{min(wanted)} is in the manifest and not in the archive")
    if parse_plan((folder / PLAN_NAME).read_bytes()).campaign != campaign:
        raise FieldError(f"{PLAN_NAME} is the plan of another campaign than {campaign!r}")
    return campaign, files


def _end(stream: BinaryIO) -> None:
    """Read what pads the archive: only at its end does gzip say whether it is whole."""
    rest = stream.read(tarfile.RECORDSIZE + 1)
    if len(rest) > tarfile.RECORDSIZE or any(rest):
        raise FieldError("more bytes after the archive's end")


def _manifest(data: bytes, campaign: str) -> dict[str, Packed]:
    manifest: Any = json.loads(data)
    if not isinstance(manifest, dict) or manifest.get("schema") != VERSION:
        raise FieldError(f"{MANIFEST}: expected schema {VERSION}")
    if text(manifest, "campaign") != campaign:
        raise FieldError(f"{MANIFEST}: is of another campaign than its folder")
    listed, files = mapping(manifest, "files"), {}
    for name in listed:
        entry = mapping(listed, name)
        size, sha256 = whole(entry, "bytes"), text(entry, "sha256")
        if not _limit(name):
            raise FieldError(f"{MANIFEST}: {name!r:.120} has no place in a campaign")
        if not 0 <= size <= _limit(name) or not _SHA256.fullmatch(sha256):
            raise FieldError(f"{MANIFEST}: {name}: size or hash is none that can be")
        files[name] = Packed(size, sha256)
    if PLAN_NAME not in files:
        raise FieldError(f"{MANIFEST}: {PLAN_NAME} is missing")
    return files


def _members(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    """(name, size) of each member; the caller reads its content before asking for the next.

    tarfile's own reader takes in extended headers of any size before one can refuse them.
    """
    while True:
        head = stream.read(_BLOCK)
        if len(head) < _BLOCK:
            raise FieldError("truncated: the archive has no end")
        if not head.strip(b"\0"):
            return
        info = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        if info.type not in _REGULAR:
            raise FieldError(f"{info.name!r:.120} is no regular file")
        if info.size < 0:
            raise FieldError(f"{info.name!r:.120} has no size")
        yield info.name, info.size
        stream.read(-info.size % _BLOCK)


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            raise FieldError("truncated: the archive ends within a file")
        left -= len(piece)
        yield piece


def _write(stream: BinaryIO, path: Path, packed: Packed) -> None:
    digest = hashlib.sha256()
    with path.open("xb") as out:
        for piece in _pieces(stream, packed.bytes):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != packed.sha256:
        raise FieldError(f"{path.name}: was changed: the hash is not the manifest's")
    path.chmod(0o440 if BLOCK_NAME.fullmatch(path.name) else 0o640)


def _place(target: Path, unpacked: Path, files: Mapping[str, Packed]) -> Imported:
    if not target.exists():
        unpacked.rename(target)
        sync_folder(target.parent)
        return Imported(target.name, len(files), 0)
    present = [name for name in files if (target / name).exists()]
    other = [name for name in present if not _same(target / name, unpacked / name)]
    if PLAN_NAME not in present or other:
        name = (other or [PLAN_NAME])[0]
        raise DatasetError(
            f"{target}: is there already, with another {name}; move that campaign away first"
        )
    (target / "blocks").mkdir(exist_ok=True)
    for name in files:
        if name not in present:
            (unpacked / name).rename(target / name)
    sync_folder(target / "blocks")
    return Imported(target.name, len(files) - len(present), len(present))


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or not one.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return all(a == b for a, b in zip(chunks(one), chunks(other), strict=True))
