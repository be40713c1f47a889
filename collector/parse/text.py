"""From bytes to text with plain lines, the same for every parser.

Windows line ends, a byte order mark (UTF-8, UTF-16) and colours are removed, so such a file parses
to the same record. Everything else stays as it is and is refused, with its line, where a parser
does not expect it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Final

from collector.parse.record import ParseError

SIZE_LIMIT: Final = 64 * 1024 * 1024
LINE_LIMIT: Final = 64 * 1024

# Colours (m) and "erase to the end of the line" (K). Sequences that move the cursor change what a
# person would have read, so they stay and make the line unreadable.
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[mK]")


def decode(data: bytes) -> str:
    r"""Return the text of ``data``.

    Refuses more than ``SIZE_LIMIT`` bytes, lines that cannot be an output's (certain from twice
    ``LINE_LIMIT``), UTF-16 without its mark. Bytes that are no UTF-8 become U+FFFD: they may stand
    in a URL or around an output, never in a number.

    >>> decode(b"\xef\xbb\xbfRequests/sec: \x1b[1m   12.50\x1b[0m\r\n")
    'Requests/sec:    12.50\n'
    """
    if len(data) > SIZE_LIMIT:
        raise ParseError(1, f"too_large: more than {SIZE_LIMIT} bytes")
    if len(data) > LINE_LIMIT:
        _check_lines(data)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if len(data) % 2:
            lines = 1 + data.count(b"\n")
            raise ParseError(lines, "truncated: ends in the middle of a UTF-16 character")
        text = data.decode("utf-16", "replace")
    else:
        if b"\0" in data:
            line = 1 + data.count(b"\n", 0, data.index(b"\0"))
            raise ParseError(line, "encoding: a NUL byte; convert the file to UTF-8 (iconv)")
        text = data.decode("utf-8-sig", "replace")
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if "\ufeff" in text:
        # Of files with marks that were joined.
        text = text.replace("\n\ufeff", "\n")
    return text.replace("\r\n", "\n") if "\r" in text else text


def _check_lines(data: bytes) -> None:
    # A window without a line end lies within one line, which is then at least a window long. This
    # costs one search a window, however many lines there are.
    for begin in range(0, len(data) - LINE_LIMIT, LINE_LIMIT):
        if data.find(b"\n", begin, begin + LINE_LIMIT) < 0:
            line = 1 + data.count(b"\n", 0, begin)
            raise ParseError(line, f"too_large: a line of more than {LINE_LIMIT} bytes")


def shown(line: str) -> str:
    """Return ``line`` as an error quotes it: short, and control characters made visible."""
    return repr(line if len(line) <= 60 else line[:57] + "...")


def mismatch(text: str, position: int, expected: str) -> ParseError:
    """Say why the output in ``text`` stops making sense at ``position``, the start of a line.

    When nothing follows but a line that does not end, the output was cut.
    """
    line = 1 + text.count("\n", 0, position)
    end = text.find("\n", position)
    if end < 0 or not text[position:].strip():
        return ParseError(line, f"truncated: ends before {expected}")
    found = text[position:end]
    hint = "; write decimals with a point" if re.search(r"[0-9],[0-9]", found) else ""
    return ParseError(line, f"unexpected: {shown(found)} in place of {expected}{hint}")


def joined(parts: Iterable[tuple[str, str]]) -> str:
    """Return one pattern for ``parts``, as ``first_mismatch`` takes them."""
    return "".join(pattern for _, pattern in parts)


def first_mismatch(text: str, position: int, parts: Iterable[tuple[str, str]]) -> ParseError:
    """Say at which of ``parts``, (what a person would call it, its pattern), ``text`` goes wrong.

    For an output that their concatenation does not match from ``position``.
    """
    for expected, pattern in parts:
        match = re.compile(pattern).match(text, position)
        if match is None:
            return mismatch(text, position, expected)
        position = match.end()
    return mismatch(text, position, "the end")


def line_of(match: re.Match[str], group: str) -> int:
    """Return the line, from 1, on which ``group`` stands, of a match in a whole text."""
    return 1 + match.string.count("\n", 0, match.start(group))


def first_refusal(
    text: str, parts: Iterable[tuple[str, str]], failure: re.Pattern[str]
) -> ParseError:
    """Say why ``text`` is not ``parts``: in the words of the tool, ``failure``, where it failed."""
    if said := failure.search(text):
        return ParseError(1 + text.count("\n", 0, said.start()), f"failed: {said[0][:160]!r}")
    return first_mismatch(text, 0, parts)
