"""What belongs to a campaign's publication: each object's name, bytes and headers.

Only what is named here is published, and only from ``results/``: the files of the report's folder
whose ending is in ``TYPES``, the plan, the dataset's parts of that campaign, an index of those
parts, and the checksums of all these. No link is followed. Below the campaign's prefix the dataset
and the plan lie as below a state folder, so that a download of the prefix can be analysed.

Raises ``PublishError``, ``NotReadyError``, ``DatasetError``; nothing is read beyond what is listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from collector.dataset.archive import CAMPAIGN_NAME
from collector.dataset.durable import chunks
from collector.dataset.index import INDEX_NAME, Index
from collector.dataset.load import require_index
from collector.dataset.planned import PLAN_NAME
from collector.dataset.store import Places, campaign_plan
from collector.publish.errors import NotReadyError, PublishError
from collector.schema import TABLES

# Not the module mimetypes: it reads the machine's own tables, and the site would depend on them.
TYPES: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
PLAIN: Final = TYPES[".txt"]
IMMUTABLE: Final = "public, max-age=31536000, immutable"
SHORT: Final = "public, max-age=60"
SUMS: Final = "SHA256SUMS"
FINISHED: Final = "finished"

_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952; no file of TYPES can begin so unless it is encoded
_HEAD: Final = 64 * 1024
_TITLE: Final = re.compile(rb"<title>([a-z0-9-]+): ([a-z0-9-]+)</title>")
_REPORT_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_PART: Final = re.compile(r"parts/([a-z]+)-([0-9a-f]{64})\.parquet")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file as it was when it was hashed; ``stamp`` is (inode, bytes, mtime in ns)."""

    path: Path
    stamp: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One object: ``name`` below the campaign's prefix, ``headers`` by their names in HTTP.

    ``md5`` is what S3 gives as the ETag of an object that went up whole.
    """

    name: str
    source: LocalFile | bytes
    size: int
    sha256: str
    md5: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """A campaign's objects in the order of sending: what others refer to comes first.

    ``left_out``: what lies in the report's folder and is not published, one line each.
    """

    campaign: str
    items: tuple[Item, ...]
    left_out: tuple[str, ...]


def read_site(places: Places, name: str, progress: Progress) -> Site:
    """The publication of a campaign, given by its id or as the one that a report is about.

    Reads and hashes every file; ``progress`` is told files done and files altogether.
    """
    root = (places.state / "results").resolve()
    experiment, campaign = _chosen(root, name)
    index = _own_index(require_index(places.dataset), campaign)
    folder, left_out = f"report/{experiment}", list[str]()
    wanted = [(f"dataset/{part.file}", f"results/dataset/{part.file}") for part in index.parts]
    plan = f"campaigns/{campaign}"
    wanted += [(f"{plan}/{PLAN_NAME}", f"results/{plan}/{PLAN_NAME}")]
    if (root / plan / FINISHED).exists():
        wanted += [(f"{plan}/{FINISHED}", f"results/{plan}/{FINISHED}")]
    wanted += [(f"{folder}/{file}", file) for file in _report_files(root / folder, left_out)]
    items = []
    for done, (path, file) in enumerate(wanted):
        progress(done, len(wanted))
        items.append(_file_item(root, path, file))
    _refuse_changed_parts(places.dataset, index, items)
    items.append(_text_item(f"results/dataset/{INDEX_NAME}", index.to_json()))
    sums = "".join(
        f"{item.sha256}  {item.name}\n" for item in sorted(items, key=lambda it: it.name)
    )
    items.append(_text_item(SUMS, sums.encode()))
    progress(len(wanted), len(wanted))
    return Site(campaign, tuple(items), tuple(left_out))


def _chosen(root: Path, name: str) -> tuple[str, str]:
    """(experiment, campaign) of a name; the report's title says which campaign it is about."""
    campaigns = sorted(path.name for path in root.glob("campaigns/*/") if path.name[0] != ".")
    if not CAMPAIGN_NAME.fullmatch(name):
        raise PublishError(f"{name!r:.120}: expected the name of an experiment or a campaign's id")
    asked = name if name in campaigns else None
    if asked is None and not any(campaign.startswith(f"{name}-") for campaign in campaigns):
        known = ", ".join(campaigns) or "none"
        raise PublishError(f"{name!r}: no campaign, and no experiment of one; campaigns: {known}")
    experiment = name if asked is None else campaign_plan(root / "campaigns" / asked).experiment
    if not CAMPAIGN_NAME.fullmatch(experiment):
        raise PublishError(f"{PLAN_NAME} of {asked}: {experiment!r:.120} is no experiment's name")
    make = f"make one: python -m analysis report --state {root.parent} --experiment {experiment}"
    if asked is not None:
        make += f" --campaign {asked}"
    report = root / "report" / experiment / "report.html"
    if not report.exists():
        raise NotReadyError(f"{report}: no report yet; {make}")
    titled = _title(root, f"report/{experiment}/report.html")
    if titled is None or titled[0] != experiment or asked not in (None, titled[1]):
        about = "nothing that can be told" if titled is None else " ".join(titled)
        raise NotReadyError(f"{report}: is about {about}, not {asked or experiment}; {make}")
    campaign_plan(root / "campaigns" / titled[1])
    return titled


def _title(root: Path, name: str) -> tuple[str, str] | None:
    head = _read(root, name)[3]
    if head.startswith(_GZIP):
        with contextlib.suppress(zlib.error):
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    found = _TITLE.search(head)
    return (found[1].decode(), found[2].decode()) if found else None


def _own_index(index: Index, campaign: str) -> Index:
    """The index of this campaign's parts alone; the same parts give the same bytes."""
    parts = tuple(part for part in index.parts if part.campaign == campaign)
    if not parts:
        raise NotReadyError(f"{campaign}: is not in the dataset yet: python -m collector collect")
    for part in parts:
        found = _PART.fullmatch(str(part.file))
        if not found or found.groups() != (part.table, part.sha256) or part.table not in TABLES:
            raise PublishError(f"{INDEX_NAME}: {part.file!r:.120} is no part; 'collect --rebuild'")
    superseded = tuple(attempt for attempt in index.superseded if attempt[0] == campaign)
    plans = {name: sha256 for name, sha256 in index.plans.items() if name == campaign}
    return replace(index, generation=1, parts=parts, superseded=superseded, plans=plans, files=())


def _report_files(folder: Path, left_out: list[str]) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            left_out.append(f"{path.name!r}: no regular file")
        elif not _REPORT_FILE.fullmatch(path.name) or path.suffix not in TYPES:
            left_out.append(f"{path.name!r}: expected a plain name and {', '.join(TYPES)}")
        else:
            yield path.name


def _refuse_changed_parts(dataset: Path, index: Index, items: list[Item]) -> None:
    read = {item.name: item.sha256 for item in items}
    for part in index.parts:
        if read[f"results/dataset/{part.file}"] != part.sha256:
            raise PublishError(
                f"{dataset / part.file}: was changed; run 'collect --rebuild', then the report"
            )


def _read(root: Path, name: str) -> tuple[LocalFile, str, str, bytes]:
    """(file, SHA-256, MD5, first bytes) of a regular file that no link leads to."""
    path = root / name
    try:
        found = path.lstat()
        if path.resolve() != path or not stat.S_ISREG(found.st_mode):
            raise PublishError(f"{path}: no regular file, or behind a link; links are not followed")
        sha256, md5, head = hashlib.sha256(), hashlib.md5(usedforsecurity=False), b""
        for piece in chunks(path):
            head = head or piece[:_HEAD]
            sha256.update(piece)
            md5.update(piece)
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; nothing was published") from None
    return LocalFile(path, stamp_of(found)), sha256.hexdigest(), md5.hexdigest(), head


def stamp_of(found: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is replaced or written to."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def _file_item(root: Path, path: str, name: str) -> Item:
    file, sha256, md5, head = _read(root, path)
    return Item(name, file, file.stamp[1], sha256, md5, headers_of(name, head))


def _text_item(name: str, data: bytes) -> Item:
    sha256, md5 = hashlib.sha256(data), hashlib.md5(data, usedforsecurity=False)
    return Item(name, data, len(data), sha256.hexdigest(), md5.hexdigest(), headers_of(name, data))


def headers_of(name: str, head: bytes) -> dict[str, str]:
    """The headers of an object by its name and first bytes.

    >>> headers_of("aa.csv", b"cell,n")
    {'Content-Type': 'text/csv; charset=utf-8', 'Cache-Control': 'public, max-age=60'}
    """
    headers = {
        "Content-Type": TYPES.get(Path(name).suffix, PLAIN),
        "Cache-Control": IMMUTABLE if "/parts/" in name else SHORT,
    }
    if head.startswith(_GZIP):
        headers["Content-Encoding"] = "gzip"
    return headers
