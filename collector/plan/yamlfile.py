"""A YAML file as plain data with the line and column of every key.

Takes the subset that people write by hand: one document of mappings, lists and plain values.
Anchors, aliases, tags, merge keys and directives are refused rather than interpreted, so that a
file cannot grow when it is read, make objects, or mean something else under YAML 1.1. Limits are
checked on the stream of events, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from collector.plan.findings import BadInputError, Finding, shown

SIZE_LIMIT: Final = 256 * 1024
DEPTH_LIMIT: Final = 8  # an experiment needs 4

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the keys of a file stand. ``positions`` are (line, column), from 1, by key path."""

    name: str
    positions: Mapping[Path, tuple[int, int]]

    def where(self, *path: str | int) -> str:
        """``file:line:column: key.path``; a key that is absent stands where its parent does."""
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        line, column = self.positions.get(known, (1, 1))
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        place = f"{self.name}:{line}:{column}"
        return f"{place}: {dotted.lstrip('.')}" if path else place


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is open while the events go by; ``keys`` is None for a list."""

    keys: set[str] | None
    key_next: bool = True


@dataclass(slots=True)
class _Scan:
    """Walks the events once and collects what is refused; ``fatal`` ends the walk."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    documents: int = 0

    def complain(self, event: Any, message: str) -> None:
        mark = event.start_mark
        where = f"{self.name}:{mark.line + 1}:{mark.column + 1}"
        self.findings.append(Finding("error", where, message))

    def fatal(self, event: Any, message: str) -> BadInputError:
        self.complain(event, message)
        return BadInputError(self.findings)

    def take(self, event: Any) -> None:
        if isinstance(event, ev.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fatal(event, "a second document; expected one a file")
            if event.version or event.tags:
                self.complain(event, "directives (%YAML, %TAG) are not accepted; remove the line")
        elif isinstance(event, ev.AliasEvent):
            raise self.fatal(event, f"alias *{event.anchor} is not accepted; write the value out")
        elif isinstance(event, ev.NodeEvent):
            self._node(event)
        elif isinstance(event, ev.MappingEndEvent | ev.SequenceEndEvent):
            self.frames.pop()

    def _node(self, event: Any) -> None:
        if event.anchor:
            self.complain(event, f"anchor &{event.anchor} is not accepted; remove it")
        if event.tag:
            raise self.fatal(event, f"tag {shown(event.tag)} is not accepted; remove it")
        frame = self.frames[-1] if self.frames else None
        if frame is not None and frame.keys is not None:
            if frame.key_next:
                self._key(event, frame.keys)
            frame.key_next = not frame.key_next
        if isinstance(event, ev.CollectionStartEvent):
            if len(self.frames) == DEPTH_LIMIT:
                raise self.fatal(event, f"nested deeper than {DEPTH_LIMIT} levels")
            self.frames.append(_Frame(set() if isinstance(event, ev.MappingStartEvent) else None))

    def _key(self, event: Any, keys: set[str]) -> None:
        if not isinstance(event, ev.ScalarEvent):
            raise self.fatal(event, "a mapping or list as a key; expected a plain word")
        if event.value == "<<":
            raise self.fatal(event, "merge key << is not accepted; write the keys out")
        if event.value in keys:
            self.complain(event, f"key {shown(event.value)} stands twice; keep one of them")
        keys.add(event.value)


def _loader() -> YAML:
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = True  # reported by the scan, all of them and with both columns
    return yaml


def _plain(
    value: Any, path: Path, positions: dict[Path, tuple[int, int]], bad_keys: list[Path]
) -> Any:
    """Undress ruamel's types; note positions, and keys that are no text."""
    if isinstance(value, CommentedMap):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            line, column = value.lc.key(key)
            here = (*path, str(key))
            positions[here] = (line + 1, column + 1)
            if not isinstance(key, str):
                bad_keys.append(here)
            plain[str(key)] = _plain(item, here, positions, bad_keys)
        return plain
    if isinstance(value, CommentedSeq):
        items = []
        for index, item in enumerate(value):
            line, column = value.lc.item(index)
            positions[(*path, index)] = (line + 1, column + 1)
            items.append(_plain(item, (*path, index), positions, bad_keys))
        return items
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _decode(data: bytes, name: str) -> str:
    if len(data) > SIZE_LIMIT:
        message = f"larger than {SIZE_LIMIT} bytes, the most that is read"
        raise BadInputError([Finding("error", name, message)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        raise BadInputError([Finding("error", f"{name}:{line}", message)]) from None


def _problems(error: YAMLError, name: str) -> Iterator[Finding]:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        text = " ".join(part for part in (error.context, error.problem) if part)
    else:
        where, text = name, " ".join(str(error).split())
    yield Finding("error", where, f"not YAML: {text}")


def read_yaml(data: bytes, name: str) -> tuple[Any, Source, list[Finding]]:
    """Read one YAML document.

    Returns the data in plain Python types, the positions of its keys, and complaints that leave
    the rest readable (duplicate keys, ...), so that a caller reports them with its own. Raises
    ``BadInputError`` where reading on makes no sense. ``name`` is the file's name in messages.
    """
    text = _decode(data, name)
    scan = _Scan(name)
    try:
        for event in _loader().parse(text):
            scan.take(event)
        loaded = _loader().load(text)
    except YAMLError as error:
        raise BadInputError([*scan.findings, *_problems(error, name)]) from None
    except ValueError as error:  # a number of more digits than Python converts
        raise BadInputError([*scan.findings, Finding("error", name, f"{error}")]) from None
    positions: dict[Path, tuple[int, int]] = {(): (1, 1)}
    bad_keys: list[Path] = []
    plain = _plain(loaded, (), positions, bad_keys)
    source = Source(name, positions)
    for path in bad_keys:
        message = f"key {path[-1]} is no text; put it in quotes"
        scan.findings.append(Finding("error", source.where(*path), message))
    return plain, source, scan.findings
