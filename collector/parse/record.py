"""What a parser returns: a ``Record``, or a ``ParseError`` that names the line.

A record has exactly the columns of ``collector.schema.RECORD``, in base units (seconds, bytes,
1/s); a column is ``None`` where the output does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector import schema


class ParseError(Exception):
    """An output that is refused: ``line`` (from 1, in the text that was given) and ``reason``.

    The reason begins with a stable word and a colon: ``truncated`` (the output does not end where
    the tool ends), ``unexpected`` (a line that the tool does not print), ``several`` (more than
    one output where one is wanted), ``encoding``, ``too_large``, ``quoted``, ``old_ab``, ``html``,
    ``histogram``, ``percentiles``, ``log``, ``other_sysbench``, ``failed`` (the tool itself says
    that it failed), ``no_data`` (it ran and did nothing), or the name of a tool that is recognised
    and not read.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason

    def __reduce__(self) -> tuple[type[ParseError], tuple[int, str]]:
        # The default rebuilds from the message alone, so the error would not survive the way back
        # from a worker process.
        return type(self), (self.line, self.reason)

    def shifted(self, lines: int) -> ParseError:
        """Return the same error ``lines`` further down, for a text that is part of a file."""
        return ParseError(self.line + lines, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One of several things that a run measured. ``collector.schema.CELL`` has the fields.

    ``histogram`` has (latency in ns, count), rising; empty for what has no latencies.
    """

    mode: str
    message_bytes: int | None
    state: str
    reason: str | None = None
    count: int | None = None
    lost: int | None = None
    duration_s: float | None = None
    rate_per_s: float | None = None
    transfer_bytes_per_s: float | None = None
    wire_bytes: int | None = None
    clock_s: float | None = None
    latency_mean_s: float | None = None
    latency_min_s: float | None = None
    latency_p50_s: float | None = None
    latency_p90_s: float | None = None
    latency_p99_s: float | None = None
    latency_max_s: float | None = None
    cpu_measuring_s: float | None = None
    cpu_serving_s: float | None = None
    switches_measuring: int | None = None
    switches_serving: int | None = None
    histogram: tuple[tuple[int, int], ...] = ()

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Return the fields by name, in the schema's order, the histogram not among them."""
        return {name: getattr(self, name) for name in schema.CELL_FIELDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One output of a load tool. ``collector.schema.RECORD`` says what each field means.

    ``cells`` are what a tool measured one after another that measures several things in a run.
    """

    tool: str
    tool_version: str | None = None
    threads: int | None = None
    connections: int | None = None
    duration_s: float | None = None
    requests: int | None = None
    requests_failed: int | None = None
    errors_connect: int | None = None
    errors_read: int | None = None
    errors_write: int | None = None
    errors_timeout: int | None = None
    errors_receive: int | None = None
    errors_length: int | None = None
    errors_exception: int | None = None
    errors_status: int | None = None
    errors_corrupt: int | None = None
    errors_ignored: int | None = None
    errors_reconnect: int | None = None
    requests_keepalive: int | None = None
    unavailable: str | None = None
    throughput_rps: float | None = None
    transfer_bytes: int | None = None
    transfer_bytes_per_s: float | None = None
    document_bytes: int | None = None
    latency_mean_s: float | None = None
    latency_sd_s: float | None = None
    latency_min_s: float | None = None
    latency_p50_s: float | None = None
    latency_p75_s: float | None = None
    latency_p90_s: float | None = None
    latency_p95_s: float | None = None
    latency_p99_s: float | None = None
    latency_max_s: float | None = None
    latency_corrected_mean_s: float | None = None
    latency_corrected_sd_s: float | None = None
    latency_corrected_p50_s: float | None = None
    latency_corrected_p75_s: float | None = None
    latency_corrected_p90_s: float | None = None
    latency_corrected_p99_s: float | None = None
    cells: tuple[Cell, ...] = ()

    def as_dict(self) -> dict[str, str | int | float | None]:
        """Return the fields by name, in the schema's order."""
        return {name: getattr(self, name) for name in schema.RECORD_FIELDS}
