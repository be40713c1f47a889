"""A rendered job taken apart, so that two of them can be compared as wholes.

A leaf is a place (``TaskGroups/web/Tasks/app-0/Env/BIND``) and its value; lists whose elements have
names go by name, so that an added task does not shift the others. A template is two leaves: nginx's
``server`` lines of an upstream, and all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAMES = ("Name", "DestPath", "Label", "Mode")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a value that lies at a place."""
    if at.endswith("/EmbeddedTmpl"):
        yield from template_leaves(str(value), at)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{at}/{key}" if at else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        key = next((name for name in NAMES if name in value[0]), None)
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{at}/{number if key is None else inner[key]}")
    else:
        yield at, value


def template_leaves(text: str, at: str) -> Iterator[tuple[str, Any]]:
    """The upstream's ``server`` lines apart, all the other lines as one text, in order."""
    lines = text.splitlines(keepends=True)
    chosen = [line for line in lines if line.startswith("    server ")]
    yield f"{at}/server", chosen
    yield f"{at}/rest", "".join("@server\n" if line in chosen else line for line in lines)


def difference(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Leaves that differ, or that only one of them has."""
    first, second = dict(leaves(one)), dict(leaves(other))
    both = first.keys() & second.keys()
    return (first.keys() ^ second.keys()) | {at for at in both if first[at] != second[at]}
