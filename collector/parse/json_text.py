"""One object of JSON in a tool's output, and its parts, each refused with what was expected.

A tool's layout is free, as JSON's is, so what is wrong with a part is told at line 1: the object's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from collector.parse.record import ParseError
from collector.parse.text import shown

_CLOSED: Final = re.compile(r"^\}", re.M)  # tools indent every other bracket
_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise ValueError("a key twice")
    return body


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)


def read_object(text: str, program: str) -> dict[str, Any]:
    """Return the object that ``text`` starts with; what stands after it is not looked at.

    ``ParseError`` where it does not end, is no JSON, or has what the program never writes.
    """
    try:
        body, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        if _CLOSED.search(text) is None:
            raise ParseError(1 + text.count("\n"), "truncated: the object does not end") from None
        raise ParseError(error.lineno, f"unexpected: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # NaN, a key twice, thousands of digits or of brackets
        reason = f"unexpected: numbers, keys or nesting that {program} has not"
        raise ParseError(1, reason) from None
    return dict(body)  # the mark is an object's


def wrong(what: str, value: object) -> ParseError:
    """Return what says that something is not as expected."""
    return ParseError(1, f"unexpected: {what}, not {shown(str(value))}")


def part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the object of that name; ``ParseError`` for anything else."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise wrong(f"'{name}' is an object", value)
    return value


def only(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the one object of the list of that name; ``ParseError`` for anything else."""
    value = body.get(name)
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise wrong(f"'{name}' has one entry", value)
    return value[0]


def whole(body: Mapping[str, Any], name: str, least: int = 0) -> int:
    """Return the whole number of that name; ``ParseError`` for anything else."""
    value = body.get(name)
    # bool is a subclass of int.
    if type(value) is not int or not least <= value <= _LARGEST:
        raise wrong(f"'{name}' is a whole number from {least}", value)
    return value


def number(body: Mapping[str, Any], name: str) -> float:
    """Return the number of that name, not below 0; ``ParseError`` for anything else."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise wrong(f"'{name}' is a number from 0", value)
    return float(value)
