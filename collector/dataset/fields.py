"""Typed access to the JSON bodies of a block file.

A body's bytes are those that were written (the hash chain says so), yet a writer may have been
wrong. Every access names the key and what was expected, so that a file is quarantined with a
reason instead of ending the collection with a traceback. ``None`` stands for null or absent.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

INT64_MAX: Final = 2**63 - 1
# Made once: there is a text of each measured container of every run.
_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
Body = Mapping[str, Any]


class FieldError(ValueError):
    """A key of a body is missing or has another type than the contract says."""


def refuse(key: str, expected: str, value: object) -> FieldError:
    """The error for a key that holds something else than what was expected."""
    seen = "nothing" if value is None else type(value).__name__
    return FieldError(f"{key!r}: expected {expected}, found {seen}")


def mapping(body: Body, key: str) -> dict[str, Any]:
    """An object that must be there."""
    value = body.get(key)
    if not isinstance(value, dict):
        raise refuse(key, "an object", value)
    return value


def maybe_mapping(body: Body, key: str) -> dict[str, Any] | None:
    """An object, or None."""
    value = body.get(key)
    if value is not None and not isinstance(value, dict):
        raise refuse(key, "an object", value)
    return value


def text(body: Body, key: str) -> str:
    """A string that must be there."""
    value = body.get(key)
    if not isinstance(value, str):
        raise refuse(key, "a string", value)
    return value


def maybe_text(body: Body, key: str) -> str | None:
    """A string, or None."""
    return None if body.get(key) is None else text(body, key)


def whole(body: Body, key: str) -> int:
    """A whole number within 64 bits that must be there."""
    value = body.get(key)
    if type(value) is not int:
        raise refuse(key, "a whole number", value)
    if not -INT64_MAX <= value <= INT64_MAX:
        raise FieldError(f"{key!r}: {value} does not fit 64 bits")
    return value


def maybe_whole(body: Body, key: str) -> int | None:
    """A whole number within 64 bits, or None."""
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int or not -INT64_MAX <= value <= INT64_MAX:
        return whole(body, key)
    return value


def maybe_number(body: Body, key: str) -> float | None:
    """A finite number, or None."""
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(key, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        raise FieldError(f"{key!r}: the number does not fit 64 bits") from None
    if not isfinite(number):
        raise FieldError(f"{key!r}: {value} is not finite")
    return number


def maybe_flag(body: Body, key: str) -> bool | None:
    """True, false or None."""
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise refuse(key, "true or false", value)
    return value


def strings(body: Body, key: str) -> list[str]:
    """A list of strings; absent or null is the empty list."""
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise refuse(key, "a list of strings", value)
    return value


def cpu_numbers(body: Body, key: str) -> tuple[int, ...]:
    """A list of CPU numbers; absent or null is empty (not known)."""
    value = body.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise refuse(key, "a list of CPU numbers", value)
    return tuple(value)


def as_json(value: object) -> str:
    """JSON with sorted keys, so that equal facts are equal strings."""
    return _ENCODER.encode(value)


def content(body: Body, key: str, key_b64: str) -> bytes:
    """Bytes written as UTF-8 text under ``key``, or in base 64 under ``key_b64``."""
    if key in body:
        try:
            return text(body, key).encode()
        except UnicodeEncodeError as error:
            raise FieldError(f"{key!r}: no UTF-8: {error.reason}") from None
    try:
        return base64.b64decode(text(body, key_b64), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError(f"{key_b64!r}: expected base 64 ({error}), no {key!r} either") from None
