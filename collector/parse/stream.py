r"""stream 1, the program in ``workloads/stream``: the arguments, and the record of its JSON.

One object on standard output. Its layout (blanks, line ends, order) is free, as JSON's is; its
keys are exactly those that the program prints, and its sums must agree with each other:

>>> record = parse_stream(b'''{"stream": 1, "version": "1.0.0", "address": "unix:/alloc/s.sock",
...  "flows": 1, "message_bytes": 1024, "direction": "to",
...  "seconds": 2.000000000, "messages": 1000, "bytes": 1024000,
...  "messages_per_s": 500.000, "bytes_per_s": 512000.000,
...  "errors": {"connect": 0, "read": 0, "write": 0, "corrupt": 0},
...  "per_flow": [
...   {"flow": 0, "direction": "to", "messages": 1000, "bytes": 1024000, "seconds": 2.000000000,
...    "error": null}
...  ]}
... ''')
>>> record.requests, record.throughput_rps, record.transfer_bytes_per_s, record.connections
(1000, 500.0, 512000.0, 1)

Figures are the receiver's (see ``stream.c``). Where a flow failed there are none, the errors are
counted, and what had arrived stands in ``requests`` and ``transfer_bytes``, as far as it is known.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from collector.parse.record import ParseError, Record
from collector.parse.text import decode, shown
from collector.parse.tool import INSIDE, Capabilities, Invocation, Load, check_inside, whole_seconds

# The program prints its own name first; a file with the keys in another order is not found.
MARK: Final = r'\{\s*"stream":\s*[0-9]'
START: Final = re.compile(rf"^{MARK}", re.M)
FORMAT: Final = 1
MOST_FLOWS: Final = 4096  # MOST_FLOWS in stream.c

# The object's last two brackets: where they are missing, the output was cut.
_CLOSED: Final = re.compile(r"\]\s*\}")
_LARGEST: Final = 2**63 - 1  # what fits a column of the dataset
_LEAST_MESSAGE: Final = 16
_ERRORS: Final = ("connect", "read", "write", "corrupt")
_FLOW_KEYS: Final = ("flow", "direction", "messages", "bytes", "seconds", "error")
_KEYS: Final = (
    "stream",
    "version",
    "address",
    "flows",
    "message_bytes",
    "direction",
    "seconds",
    "messages",
    "bytes",
    "messages_per_s",
    "bytes_per_s",
    "errors",
    "per_flow",
)
_DIRECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "to": ("to",),
    "from": ("from",),
    "both": ("to", "from"),
}
_FIGURE: Final = re.compile(rb'"bytes_per_s": *([0-9]{1,15}(?:\.[0-9]{1,9})?)')


def parse_stream(data: bytes) -> Record:
    """Return the record of the one output in ``data``.

    Raises ``ParseError``: no whole output, more than one, or figures that contradict each other.
    """
    text = decode(data)
    starts = [match.start() for match, _ in zip(START.finditer(text), range(2), strict=False)]
    if not starts:
        raise ParseError(1, "truncated: no output of stream found ('{\"stream\": 1, ...')")
    if len(starts) > 1:
        line = 1 + text.count("\n", 0, starts[1])
        raise ParseError(line, "several: a second output of stream begins; give one at a time")
    try:
        return read_stream(text[starts[0] :])
    except ParseError as error:
        raise error.shifted(text.count("\n", 0, starts[0])) from None


def read_stream(text: str) -> Record:
    """Return the record of ``text``, which starts with an output and holds no second one.

    Raises ``ParseError`` with the line in ``text``; 1 for what is wrong with the whole.
    """
    try:
        body, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
    except json.JSONDecodeError as error:
        if _CLOSED.search(text) is None:
            raise ParseError(1 + text.count("\n"), "truncated: the object does not end") from None
        raise ParseError(error.lineno, f"unexpected: no JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # NaN, thousands of digits, thousands of brackets
        raise ParseError(1, "unexpected: numbers or nesting that stream does not print") from None
    return _record(_checked(body))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _wrong(what: str, value: object) -> ParseError:
    return ParseError(1, f"unexpected: {what}, not {shown(str(value))}")


def _keys(body: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(body, dict) or set(body) != set(keys):
        found = sorted(set(body) ^ set(keys)) if isinstance(body, dict) else body
        raise _wrong(f"{where} has the keys {', '.join(keys)}", f"these beside or missing: {found}")
    return body


def _whole(body: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = body[name]
    # bool is a subclass of int.
    if type(value) is not int or not least <= value <= _LARGEST:
        raise _wrong(f"'{name}' is a whole number from {least}", value)
    return value


def _rate(body: dict[str, Any], name: str) -> float | None:
    value = body[name]
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise _wrong(f"'{name}' is a number above 0, or null", value)
    return float(value)


def _checked(found: object) -> dict[str, Any]:
    """Return the object, after making sure that its parts agree."""
    if isinstance(found, dict) and found.get("stream") != FORMAT:
        raise _wrong(f"format {FORMAT} of stream is read", found.get("stream"))
    body = _keys(found, _KEYS, "the output")
    size, flows = _whole(body, "message_bytes", _LEAST_MESSAGE), _whole(body, "flows", 1)
    messages, seconds = _count(body, size), _rate(body, "seconds")
    if not isinstance(body["version"], str) or not isinstance(body["address"], str):
        raise _wrong("'version' and 'address' are texts", (body["version"], body["address"]))
    if body["direction"] not in ("to", "from", "both"):
        raise _wrong("'direction' is to, from or both", body["direction"])
    failed = sum(_whole(_keys(body["errors"], _ERRORS, "'errors'"), one) for one in _ERRORS)
    if failed and seconds is not None:
        raise _wrong("a run with a failed flow has no time", seconds)
    if not failed and messages is None:
        raise _wrong("without a failed flow the messages are known", messages)
    for name, each in (("messages_per_s", 1), ("bytes_per_s", size)):
        rate = _rate(body, name)
        agrees = (rate is None) == (seconds is None)
        # Both sides were rounded: the time to nanoseconds, the rate to thousandths.
        if seconds is not None and rate is not None and messages is not None:
            agrees = math.isclose(rate, messages * each / seconds, rel_tol=1e-4, abs_tol=2e-3)
        if not agrees:
            raise _wrong(f"'{name}' is {messages} times {each} over {seconds} s", rate)
    _check_flows(body["per_flow"], flows, _DIRECTIONS[body["direction"]], (messages, size))
    return body


def _count(body: Mapping[str, Any], size: int) -> int | None:
    """Return ``messages``, after making sure that ``bytes`` agrees; both null where not known."""
    if body["messages"] is None and body["bytes"] is None:
        return None
    messages = _whole(body, "messages")
    if _whole(body, "bytes") != messages * size:
        raise _wrong(f"{messages} messages of {size} are {messages * size} bytes", body["bytes"])
    return messages


def _check_flows(
    found: object, flows: int, directions: tuple[str, ...], told: tuple[int | None, int]
) -> None:
    messages, size = told
    wanted = [(flow, direction) for flow in range(flows) for direction in directions]
    if not isinstance(found, list) or len(found) != flows * len(directions):
        raise _wrong(f"'per_flow' has {flows * len(directions)} entries", "another number")
    entries = [_keys(entry, _FLOW_KEYS, "an entry of 'per_flow'") for entry in found]
    if [(entry["flow"], entry["direction"]) for entry in entries] != wanted:
        raise _wrong("'per_flow' has each flow in its order", "another order")
    counts = [_count(entry, size) for entry in entries]
    total = None if None in counts else sum(count for count in counts if count is not None)
    if total != messages:
        raise _wrong(f"the flows' messages add up to {messages}", total)


def _record(body: dict[str, Any]) -> Record:
    errors = body["errors"]
    return Record(
        tool="stream",
        tool_version=body["version"],
        connections=body["flows"],
        duration_s=_rate(body, "seconds"),
        requests=body["messages"],
        errors_connect=errors["connect"],
        errors_read=errors["read"],
        errors_write=errors["write"],
        errors_corrupt=errors["corrupt"],
        throughput_rps=_rate(body, "messages_per_s"),
        transfer_bytes=body["bytes"],
        transfer_bytes_per_s=_rate(body, "bytes_per_s"),
    )


class Stream:
    """stream as a load tool: flows that send, receive or do both as fast as they can, for a time.

    The script ``/local/load`` in the container fixes address, message size and direction.
    """

    name: Final = "stream"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=False, inside=True
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for a number of requests, a URL, odd threads.

        ``timeout_s`` has no meaning: a flow fails when nothing moved for ten seconds.
        """
        check_inside(self.name, load)
        if load.duration_s is None:
            raise ValueError("stream: runs for a time (duration_s), not for a number of requests")
        if load.concurrency > MOST_FLOWS:
            raise ValueError(f"stream: at most {MOST_FLOWS} flows, not {load.concurrency}")
        seconds = whole_seconds("duration_s", load.duration_s)
        return Invocation(argv=(INSIDE, "--flows", str(load.concurrency), "--time", str(seconds)))

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; the program writes no files."""
        return parse_stream(stdout)

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return an empty list: a stream of messages has no latencies."""
        return []

    def figure(self, stdout: bytes) -> str | None:
        """Return ``812 MB/s``, in millions of bytes; one decimal below 100."""
        match = _FIGURE.search(stdout)
        if match is None:
            return None
        rate = float(match[1]) / 1e6
        return f"{rate:,.0f} MB/s" if rate >= 100 else f"{rate:.1f} MB/s"


TOOL: Final = Stream()
