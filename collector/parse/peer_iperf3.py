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

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from collector.parse.json_text import number, only, part, read_object, whole, wrong
from collector.parse.record import Cell, ParseError, Record

PROGRAM: Final = "iperf3"
MARK: Final = r'\{\s*"start":\s*\{\s*"connected":\s*\['
# Its second line is the first that tells it, and has the quoting's mark before it too.
QUOTED: Final = r'\{[ \t]*(?:\n[^\n"]{1,60})?"start":[ \t]*\{'

_VERSION: Final = re.compile(r"iperf (3\.[0-9]{1,4}(?:\.[0-9]{1,4})?[0-9a-z.+-]{0,20})")
_ASKED: Final = {"protocol": "TCP", "num_streams": 1, "omit": 0, "reverse": 0}


def read_iperf3(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``; 1 for what is wrong with the whole.
    """
    body = read_object(text, PROGRAM)
    if "error" in body:
        raise ParseError(1, f"failed: {str(body['error'])[:160]!r}")
    start, end = part(body, "start"), part(body, "end")
    version = _VERSION.fullmatch(str(start.get("version")))
    if version is None:
        raise wrong("'version' is iperf 3", start.get("version"))
    asked = part(start, "test_start")
    for name, value in _ASKED.items():
        # true is 1 to Python, and not to JSON.
        if asked.get(name) != value or type(asked.get(name)) is not type(value):
            raise wrong(f"'{name}' is {value}", asked.get(name))
    size = whole(asked, "blksize", 1)
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
    stream = only(end, "streams")
    sent, received = part(end, "sum_sent"), part(end, "sum_received")
    told = (_transferred(sent)[0], *_transferred(received))
    parts = body.get("intervals")
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
        raise wrong("'intervals' is a list of objects", parts)
    for what, total, found in (
        ("the intervals'", told[0], sum(whole(part(one, "sum"), "bytes") for one in parts)),
        ("the sender's", told[0], whole(part(stream, "sender"), "bytes")),
        ("the receiver's", told[1], whole(part(stream, "receiver"), "bytes")),
    ):
        if found != total:
            raise wrong(f"{what} bytes add up to {total}", found)
    if told[1] > told[0]:
        raise wrong(f"at most the {told[0]} bytes that were sent were received", told[1])
    if not told[1]:
        raise ParseError(1, "no_data: 0 bytes were received")
    return told[1], told[2], told[3]


def _transferred(body: Mapping[str, Any]) -> tuple[int, float, float]:
    count, seconds = whole(body, "bytes"), number(body, "seconds")
    rate = number(body, "bits_per_second") / 8
    if not seconds:
        raise ParseError(1, "no_data: 0 seconds")
    if not math.isclose(rate, count / seconds, rel_tol=1e-9):
        raise wrong(f"{count} bytes in {seconds} s are bytes/s", rate)
    return count, seconds, rate
