"""How many outputs a second one core parses, on the fixtures of the tests.

``python benchmarks/parsers.py [SECONDS]``: measures each case for about SECONDS (1 by default) and
prints outputs a second and microseconds an output.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from collector.parse.ab import parse_ab  # noqa: E402
from collector.parse.wrk import parse_wrk  # noqa: E402

FIXTURES = ROOT / "tests" / "fixtures" / "parse"


def rate(parse: Callable[[], object], seconds: float) -> float:
    """Return calls of ``parse`` a second of CPU time, over at least ``seconds``."""
    parse()
    calls = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        for _ in range(50):
            parse()
        calls += 50
    return calls / spent


def main(seconds: float) -> None:
    """Print one line a case."""
    # 497 distinct latencies: as many as a run of some seconds has.
    wrk = (FIXTURES / "wrk" / "threads.txt").read_bytes()
    histogram = (FIXTURES / "wrk" / "threads.tsv").read_bytes()
    ab = (FIXTURES / "ab" / "keepalive.txt").read_bytes()
    percentiles = (FIXTURES / "ab" / "keepalive.csv").read_bytes()
    rows = histogram.count(b"\n")
    cases: dict[str, Callable[[], object]] = {
        f"wrk, histogram of {rows} rows": lambda: parse_wrk(wrk, histogram),
        "wrk, no histogram": lambda: parse_wrk(wrk),
        "ab, percentiles file": lambda: parse_ab(ab, percentiles),
        "ab, no percentiles file": lambda: parse_ab(ab),
    }
    for name, parse in cases.items():
        calls = rate(parse, seconds)
        print(f"{name:<32} {calls:>9,.0f} outputs/s {1e6 / calls:>8.1f} us/output")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
