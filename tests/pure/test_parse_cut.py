"""An output cut at any byte is refused as truncated or gives its whole record, never a part."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest

from collector.parse import TOOLS, ParseError, Record
from collector.parse.command import parse_outputs
from collector.parse.histogram import parse_histogram

FIXTURES = Path(__file__).parents[1] / "fixtures" / "parse"
OUTPUTS = sorted(FIXTURES.glob("*/*.txt"))
# The last line of a whole output that needs no line end to be known as whole.
CLOSED = (b"B", b")", b"bytes", b"}", b"%")

# As many decimals as sysbench, sockperf and stress-ng print, and what redis-benchmark's rows and
# perf's figures end with.
ENDED = re.compile(
    rb"(?:execution time \(avg/stddev\): +[0-9]+\.[0-9]{4}/[0-9]+\.[0-9]{2}"
    rb"|<MIN> observation = +[0-9]+\.[0-9]{3}|run completed in [0-9]+\.[0-9]{2}s"
    rb'|,"[0-9]+\.[0-9]{3}"|[0-9] ops/sec|\[sec\])\Z'
)


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def assert_cut_is_safe(data: bytes, whole: list[object]) -> int:
    """Check every offset; returns the least at which everything is read."""
    least = len(data)
    for offset in range(len(data)):
        results = list(parse_outputs(data[:offset]))
        complete = sum(isinstance(result, Record) for result in results)
        assert results[:complete] == whole[:complete], offset
        for result in results[complete:]:
            assert isinstance(result, ParseError)
            assert result.reason.startswith("truncated"), (offset, result)
            assert 1 <= result.line <= data[:offset].count(b"\n") + 1
        assert len(results) - complete <= 1
        if results == whole:
            least = min(least, offset)
    return least


@pytest.mark.parametrize("path", OUTPUTS, ids=name_of)
def test_cut_at_every_byte(path: Path) -> None:
    data = path.read_bytes()
    whole: list[object] = list(parse_outputs(data))
    if not isinstance(whole[-1], Record):
        # What is refused whole is refused in part.
        for offset in range(len(data)):
            assert not any(isinstance(part, Record) for part in parse_outputs(data[:offset]))
        return
    least = assert_cut_is_safe(data, whole)
    # What may be missing is text after the output, or the line end of a line that shows its end.
    closed = data[:least].endswith((*CLOSED, b"\n")) or ENDED.search(data[:least])
    assert least == len(data) or closed


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("Transfer", "\x1b[1mTransfer\x1b[0m").encode(),
    ],
    ids=["crlf", "bom", "utf-16", "colour"],
)
def test_cut_in_other_encodings(encode) -> None:  # type: ignore[no-untyped-def]
    data = encode((FIXTURES / "wrk" / "status_503.txt").read_text())
    assert_cut_is_safe(data, list(parse_outputs(data)))


def test_cut_with_the_percentiles_file_gives_the_whole_record_or_nothing() -> None:
    path = FIXTURES / "ab" / "keepalive.txt"
    data, files = path.read_bytes(), {"percentiles": path.with_suffix(".csv").read_bytes()}
    whole = TOOLS["ab"].parse(data, files)
    for offset in range(len(data)):
        try:
            record = TOOLS["ab"].parse(data[:offset], files)
        except ParseError as error:
            assert error.reason.startswith("truncated")
        else:
            assert record == whole


@pytest.mark.parametrize(
    ("output", "role"), [("wrk/stall", "histogram"), ("ab/keepalive", "percentiles")]
)
def test_cut_of_the_file_beside_the_output(output: str, role: str) -> None:
    path = FIXTURES / f"{output}.txt"
    data = path.with_suffix(".tsv" if role == "histogram" else ".csv").read_bytes()
    tool = TOOLS[path.parent.name]
    for offset in range(len(data)):
        with pytest.raises(ParseError, match=f"{role}: "):
            tool.parse(path.read_bytes(), {role: data[:offset]})


def test_cut_row_of_a_histogram_is_no_row() -> None:
    assert parse_histogram(b"120\t7\n121\t90\n") == [(120, 7), (121, 90)]
    with pytest.raises(ParseError, match="truncated") as caught:
        parse_histogram(b"120\t7\n121\t9")
    assert caught.value.line == 2
