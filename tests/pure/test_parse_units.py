"""Every number that wrk can print is read as what it was printed from, to wrk's two decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from collector.parse import Record
from collector.parse.wrk import parse_wrk

TIMES = {"us": (1000, ("ms", "s")), "s": (60, ("m", "h"))}


def print_units(value: Decimal, scale: int, base: str, units: tuple[str, ...]) -> str:
    """wrk's rule (src/units.c): next unit from 0.85 x scale on, but never the last one."""
    unit = base
    for following in units[:-1]:
        if value < scale * Decimal("0.85"):
            break
        value /= scale
        unit = following
    return f"{value.quantize(Decimal('0.01'), ROUND_HALF_EVEN)}{unit}"


def print_time(microseconds: Decimal) -> str:
    if microseconds >= 1_000_000:
        return print_units(microseconds / 1_000_000, 60, "s", ("m", "h"))
    return print_units(microseconds, 1000, "us", ("ms", "s"))


def print_bytes(count: Decimal) -> str:
    return print_units(count, 1024, "", tuple("KMGTP")) + "B"


def column(text: str, width: int) -> str:
    """wrk's table pads to a width, and cuts at it (print_units in src/wrk.c)."""
    pad = sum(not character.isalpha() for character in text[-2:])
    return text[: width - pad].rjust(width - pad) + " " * pad


def output(mean: str, other: str, largest: str, size: str, duration: str = "") -> bytes:
    rows = "".join(f"{percent:7d}%{column(other, 10)}\n" for percent in (50, 75, 90, 99))
    return (
        "Running 1s test @ http://127.0.0.1/\n"
        "  1 threads and 4 connections\n"
        f"  Thread Stats{'Avg':>6}{'Stdev':>11}{'Max':>8}{'+/- Stdev':>12}\n"
        f"    {'Latency':<10}{column(mean, 8)}{column(other, 10)}{column(largest, 9)}   87.50%\n"
        f"    {'Req/Sec':<10}{column('1.50k', 8)}{column('2.00', 10)}{column('3.00', 9)}   87.50%\n"
        f"  Latency Distribution\n{rows}"
        f"  10 requests in {duration or other}, {size} read\n"
        "Requests/sec:      9.99\n"
        f"Transfer/sec: {size:>11}\n"
    ).encode()


def close(read: float | None, microseconds: Decimal) -> bool:
    """Within half of the last decimal, in the unit that wrk chose."""
    printed = print_time(microseconds)
    unit = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000}[printed.lstrip("0123456789.")]
    assert read is not None
    return abs(Decimal(read) * 1_000_000 - microseconds) <= Decimal("0.00501") * unit


# Where the unit changes, and up to the 27 hours that still keep their unit in the mean's column.
EDGES = st.sampled_from(
    [0, 1, 849, 850, 851, 999, 1000, 849_999, 850_000, 999_990, 999_994, 999_995, 999_999,
     1_000_000, 50_999_999, 51_000_000, 59_999_999, 60_000_000, 3_059_999_999, 59_999_000_000]
)  # fmt: skip
MICROSECONDS = st.one_of(EDGES, st.integers(0, 59_999_000_000))


@given(mean=MICROSECONDS, other=MICROSECONDS, largest=MICROSECONDS)
@example(mean=999_999, other=999_999, largest=999_999)
def test_times(mean: int, other: int, largest: int) -> None:
    numbers = [Decimal(value) for value in (mean, other, largest)]
    record = parse_wrk(output(*map(print_time, numbers), "1.00KB"))
    assert close(record.latency_corrected_mean_s, numbers[0])
    for name in ("sd", "p50", "p75", "p90", "p99"):
        assert close(getattr(record, f"latency_corrected_{name}_s"), numbers[1])
    assert close(record.duration_s, numbers[1])
    assert close(record.latency_max_s, numbers[2])


def test_mean_cut_by_its_column_is_not_minutes() -> None:
    data = output(print_time(Decimal(999_999)), "1.00ms", "1.50s", "1.00KB")
    assert b"1000.00m " in data and b"1000.00ms" not in data
    assert parse_wrk(data).latency_corrected_mean_s == 1.0


def test_columns_that_touch_are_told_apart() -> None:
    data = output("1.00ms", "20.00ms", "1000.00ms", "1.00KB")
    assert b"20.00ms1000.00ms" in data
    record = parse_wrk(data)
    assert (record.latency_corrected_sd_s, record.latency_max_s) == (0.02, 1.0)


@given(
    st.one_of(st.sampled_from([0, 870, 871, 1023, 1024, 891_289, 891_290]), st.integers(0, 2**60))
)
def test_bytes(count: int) -> None:
    text = print_bytes(Decimal(count))
    record: Record = parse_wrk(output("1.00ms", "1.00ms", "1.00ms", text))
    unit = 1024 ** " KMGTP".index(text[-2]) if text[-2].isalpha() else 1
    assert record.transfer_bytes is not None and record.transfer_bytes_per_s is not None
    assert abs(record.transfer_bytes - count) <= 0.00501 * unit + 0.5
    assert abs(record.transfer_bytes_per_s - count) <= 0.00501 * unit


@given(st.sampled_from(["us", "ms", "s", "m", "h"]), st.integers(0, 10**6))
def test_every_unit_of_the_grammar(unit: str, hundredths: int) -> None:
    text = f"{hundredths // 100}.{hundredths % 100:02d}{unit}"
    record = parse_wrk(output("1.00ms", "1.00ms", "1.00ms", "1.00B", duration=text))
    seconds = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]
    assert record.duration_s is not None
    assert abs(record.duration_s - hundredths / 100 * seconds) <= 1e-12 * seconds * hundredths
