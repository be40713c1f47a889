"""What a bucket holds beside what it should hold: deviations, each with its cure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from collector.publish.site import Item

# A header of these that is not wanted is a deviation too: it would change what a browser does.
HEADERS: Final = (
    "Content-Type",
    "Content-Encoding",
    "Cache-Control",
    "Content-Disposition",
    "Content-Language",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object of the bucket. ``sha256`` is what its metadata claim; null where they do not."""

    size: int
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One object that is not as it should be, and why; ``item`` is null for one too many.

    ``send``: its bytes must be sent; ``mend``: its headers or metadata alone are wrong;
    ``foreign``: it does not belong there, and is nobody's to delete but its owner's.
    """

    cure: Literal["send", "mend", "foreign"]
    name: str
    why: str
    item: Item | None


def compare(items: Iterable[Item], stored: Mapping[str, Stored]) -> list[Deviation]:
    """The deviations of ``stored`` (by name) from ``items``: theirs in their order, then others."""
    wanted = {item.name: item for item in items}
    found = [one for item in wanted.values() if (one := _deviation(item, stored.get(item.name)))]
    for name in sorted(stored.keys() - wanted.keys()):
        found.append(Deviation("foreign", repr(name), "does not belong to this campaign", None))
    return found


def _deviation(item: Item, stored: Stored | None) -> Deviation | None:
    if stored is None:
        return Deviation("send", item.name, "missing", item)
    if stored.size != item.size:
        return Deviation("send", item.name, f"{stored.size} bytes, expected {item.size}", item)
    wrong = []
    if stored.sha256 != item.sha256:
        # A copy by other hands may lose the metadata. The ETag of what went up whole is the MD5 of
        # its bytes; that of parts, or of what a key of KMS encrypts, equals no file's.
        same = stored.etag.strip('"') == item.md5
        other = "another sha256 in its metadata" if same else "other content by its sha256"
        why = "has no sha256 in its metadata" if stored.sha256 is None else other
        if not same:
            return Deviation("send", item.name, why, item)
        wrong.append(why)
    wrong += [
        f"{name} {_shown(stored.headers.get(name))}, expected {_shown(item.headers.get(name))}"
        for name in HEADERS
        if stored.headers.get(name) != item.headers.get(name)
    ]
    return Deviation("mend", item.name, "; ".join(wrong), item) if wrong else None


def _shown(value: str | None) -> str:
    return "none" if value is None else repr(value)
