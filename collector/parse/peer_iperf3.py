r"""iperf3 3.12, ``-J``, a client that sends over one TCP connection: one cell.

One object on standard output; its layout is free, as JSON's is. What is read of it:

>>> record = read_iperf3('''{"start": {"connected": [{}], "version": "iperf 3.12",
...  "test_start": {"protocol": "TCP", "num_streams": 1, "blksize": 32768, "omit": 0,
...   "duration": 1, "reverse": 0}},
...  "intervals": [{"sum": {"bytes": 65536000}}],
...  "end": {
...   "streams": [{"sender": {"bytes": 65536000}, "receiver": {"bytes": 65536000}}],
...   "sum_sent": {"seconds": 2, "bytes": 65536000, "bits_per_second": 262144000},
...   "sum_received": {"seconds": 2, "bytes": 65536000, "bits_per_second": 262144000}}
... }''')
>>> record.tool_version, record.cells[0].rate_per_s, record.cells[0].transfer_bytes_per_s
('iperf3 3.12', 1000.0, 32768000.0)

The rate is the receiver's, in units of the client's writes (``blksize``), and goes one way. What it
says of CPU is a share of a time that it does not name, and is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from collector.parse.record import Cell, ParseError, Record
from collector.parse.text import shown

PROGRAM: Final = "iperf3"
MARK: Final = r'\{\s*"start":\s*\{\s*"connected":\s*\['
# Its second line is the first that tells it, and has the quoting's mark before it too.
QUOTED: Final = r'\{[ \t]*(?:\n[^\n"]{1,60})?"start":[ \t]*\{'

_CLOSED: Final = re.compile(r"^\}", re.M)  # it indents every other bracket
_VERSION: Final = re.compile(r"iperf (3\.[0-9]{1,4}(?:\.[0-9]{1,4})?[0-9a-z.+-]{0,20})")
_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset
_ASKED: Final = {"protocol": "TCP", "num_streams": 1, "omit": 0, "reverse": 0}


def read_iperf3(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``; 1 for what is wrong with the whole.
    """
    body = _object(text)
    if "error" in body:
        raise ParseError(1, f"failed: {str(body['error'])[:160]!r}")
    start, end = _part(body, "start"), _part(body, "end")
    version = _VERSION.fullmatch(str(start.get("version")))
    if version is None:
        raise _wrong("'version' is iperf 3", start.get("version"))
    asked = _part(start, "test_start")
    for name, value in _ASKED.items():
        # true is 1 to Python, and not to JSON.
        if asked.get(name) != value or type(asked.get(name)) is not type(value):
            raise _wrong(f"'{name}' is {value}", asked.get(name))
    size = _whole(asked, "blksize", 1)
    received_bytes, seconds, rate = _received(body, end)
    cell = Cell(
        mode="throughput",
        message_bytes=size,
        state="measured",
        duration_s=seconds,
        rate_per_s=rate / size,
        transfer_bytes_per_s=rate,
    )
    return Record(
        tool="peer",
        tool_version=f"{PROGRAM} {version[1]}",
        connections=1,
        duration_s=seconds,
        transfer_bytes=received_bytes,
        transfer_bytes_per_s=rate,
        cells=(cell,),
    )


def _received(body: Mapping[str, Any], end: Mapping[str, Any]) -> tuple[int, float, float]:
    """Return bytes, seconds and bytes/s of the receiver, after making sure that sums agree."""
    stream = _only(end, "streams")
    sent, received = _part(end, "sum_sent"), _part(end, "sum_received")
    told = (_transferred(sent)[0], *_transferred(received))
    parts = body.get("intervals")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise _wrong("'intervals' is a list of objects", parts)
    for what, total, found in (
        ("the intervals'", told[0], sum(_whole(_part(part, "sum"), "bytes") for part in parts)),
        ("the sender's", told[0], _whole(_part(stream, "sender"), "bytes")),
        ("the receiver's", told[1], _whole(_part(stream, "receiver"), "bytes")),
    ):
        if found != total:
            raise _wrong(f"{what} bytes add up to {total}", found)
    if told[1] > told[0]:
        raise _wrong(f"at most the {told[0]} bytes that were sent were received", told[1])
    if not told[1]:
        raise ParseError(1, "no_data: 0 bytes were received")
    return told[1], told[2], told[3]


def _transferred(body: Mapping[str, Any]) -> tuple[int, float, float]:
    count, seconds = _whole(body, "bytes"), _number(body, "seconds")
    rate = _number(body, "bits_per_second") / 8
    if not seconds:
        raise ParseError(1, "no_data: 0 seconds")
    if not math.isclose(rate, count / seconds, rel_tol=1e-9):
        raise _wrong(f"{count} bytes in {seconds} s are bytes/s", rate)
    return count, seconds, rate


def _object(text: str) -> dict[str, Any]:
    try:
        body, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        if _CLOSED.search(text) is None:
            raise ParseError(1 + text.count("\n"), "truncated: the object does not end") from None
        raise ParseError(error.lineno, f"unexpected: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # NaN, a key twice, thousands of digits or of brackets
        raise ParseError(1, "unexpected: numbers, keys or nesting that iperf3 has not") from None
    return dict(body)  # the mark is an object's


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        raise ValueError("a key twice")
    return body


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)


def _wrong(what: str, value: object) -> ParseError:
    return ParseError(1, f"unexpected: {what}, not {shown(str(value))}")


def _part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise _wrong(f"'{name}' is an object", value)
    return value


def _only(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise _wrong(f"'{name}' has one entry", value)
    return value[0]


def _whole(body: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = body.get(name)
    if type(value) is not int or not least <= value <= _LARGEST:
        raise _wrong(f"'{name}' is a whole number from {least}", value)
    return value


def _number(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name)
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise _wrong(f"'{name}' is a number from 0", value)
    return float(value)
