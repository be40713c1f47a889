r"""h2load inside the deployment, over a Unix socket or TCP straight to the application.

The script ``/local/load`` of ``jobs/direct.nomad.hcl`` starts it there, a closed loop for a time,
and counts its log before it prints: what comes out is h2load's own output (``h2load``), then every
latency from the sending with its count, as ``histogram`` has them:

>>> record = TOOL.parse(b'''starting benchmark...
... spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 1s of \
... main duration for measurements.
... finished in 1.00s, 3.00 req/s, 642B/s
... requests: 3 total, 4 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout
... status codes: 3 2xx, 0 3xx, 0 4xx, 0 5xx
... traffic: 642B (642) total, 270B (270) headers (space savings 0.00%), 268B (268) data
...                      min         max         mean         sd        +/- sd
... time for request:       52us     20.07ms       210us       300us    98.49%
... time for connect:       13us        51us        35us        16us    75.00%
... time to 1st byte:     1.64ms      1.89ms      1.82ms       120us    75.00%
... req/s           :    4181.50     5875.27     4692.46      805.33    75.00%
... latencies from the sending, us and count:
... 52\t2
... 20070\t1
... ''', {})
>>> record.requests, record.latency_min_s, record.latency_max_s
(3, 5.2e-05, 0.02007)

Of connections that are lost meanwhile h2load says nothing in a run for a time, neither as failed
nor as errors: Little's law tells, of as many as are more than its gate allows (a tenth).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from collector.parse.h2load import PERCENTS, figure_of, parse_h2load
from collector.parse.histogram import parse_histogram, read_columns, summarise
from collector.parse.record import ParseError, Record
from collector.parse.tool import (
    INSIDE,
    Capabilities,
    Invocation,
    Load,
    check_closed,
    whole_seconds,
)

MARK: Final = b"latencies from the sending, us and count:\n"


def split(stdout: bytes) -> tuple[bytes, bytes]:
    """Return h2load's own output, and the rows of its histogram; ``ParseError`` without any."""
    own, mark, rows = stdout.partition(MARK)
    if not mark:
        raise ParseError(own.count(b"\n") + 1, f"truncated: no '{MARK.decode().strip()}'")
    return own, rows


class H2loadInside:
    """h2load as a load tool that runs in the container ``load``: a closed loop, one thread."""

    name: Final = "h2load-inside"
    capabilities: Final = Capabilities(
        open_loop=False, unix_sockets=True, histogram=True, inside=True
    )

    def arguments(self, load: Load) -> Invocation:
        """Return the invocation; ``ValueError`` for what the script cannot be told."""
        check_closed(self.name, load)
        if load.url is not None:
            raise ValueError(f"{self.name}: runs inside the deployment, so url: None")
        if load.duration_s is None:
            raise ValueError(f"{self.name}: runs for a time (duration_s), not for requests")
        if load.threads != 1:
            raise ValueError(f"{self.name}: has one thread, not {load.threads}")
        if not load.keepalive:
            raise ValueError(f"{self.name}: keeps its connections; leave keepalive out")
        seconds = whole_seconds("duration_s", load.duration_s)
        return Invocation(
            argv=(INSIDE, "--time", str(seconds), "--connections", str(load.concurrency))
        )

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of one run; ``ParseError`` where its two parts are not of one run."""
        own, rows = split(stdout)
        record = parse_h2load(own)
        before = own.count(b"\n") + 1
        try:
            values, counts = read_columns(rows)
        except ParseError as error:
            raise error.shifted(before) from None
        answered = (record.requests or 0) - (record.requests_failed or 0)
        if sum(counts) != answered:
            raise ParseError(
                before, f"histogram: {sum(counts)} samples, but h2load says {answered} answered"
            )
        found = summarise(values, counts, PERCENTS)
        return dataclasses.replace(
            record,
            tool=self.name,
            latency_mean_s=found.mean_s,
            latency_sd_s=found.sd_s,
            latency_min_s=found.minimum_s,
            latency_p50_s=found.quantiles_s[0],
            latency_p75_s=found.quantiles_s[1],
            latency_p90_s=found.quantiles_s[2],
            latency_p95_s=found.quantiles_s[3],
            latency_p99_s=found.quantiles_s[4],
            latency_max_s=found.maximum_s,
        )

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return (value in us, count) from the sending."""
        return parse_histogram(split(stdout)[1])

    def figure(self, stdout: bytes) -> str | None:
        """Return ``12,345 requests/s``."""
        return figure_of(stdout)


TOOL: Final = H2loadInside()
