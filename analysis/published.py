"""Published results, as printed, and whether our ratios confirm their direction.

Absolute figures belong to their machines; ratios are what is compared. No published figure comes
with an interval. Two sets are here: a web application in containers (``ab -n 1000 -c 1 -l`` after a
warm-up, nginx -> gunicorn/starlette, no upstream keepalive, one run a cell, December 2021), and
bytes through two Envoys (sockbench, July 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from analysis.consistency import holds, little
from analysis.metric import PRIMARY
from analysis.verdict import Verdict

EXPERIMENT: Final = "web-published"
STREAM_EXPERIMENT: Final = "mesh-stream"
TRANSFER: Final = "transfer_bytes_per_s"
CONCURRENCY: Final = 1
Outcome = Literal["confirmed", "contradicted", "undetectable"]


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row of the published table, as printed: requests/s, ms a request, p99 in ms."""

    where: str
    arch: str
    arm: str
    throughput_rps: float
    latency_mean_ms: float
    latency_p99_ms: float

    @property
    def little_ratio(self) -> float:
        """Rate x latency at concurrency 1; 1 when the row agrees with itself."""
        return little(self.throughput_rps, self.latency_mean_ms / 1e3, CONCURRENCY)

    @property
    def consistent(self) -> bool:
        """False for the local combined row: 705.55 requests/s is 1.417 ms, not 1.871."""
        return holds(self.little_ratio)


LOCAL: Final = "local (Docker Desktop, macOS)"
X86: Final = "AWS Fargate x86"
ARM64: Final = "AWS Fargate arm64 (Graviton2)"

CONTAINER_TO_CONTAINER: Final = (
    PublishedRow(LOCAL, "not stated", "tcp", 679.77, 1.471, 2),
    PublishedRow(LOCAL, "not stated", "sharedvolume", 715.62, 1.397, 2),
    PublishedRow(LOCAL, "not stated", "combined", 705.55, 1.871, 2),
    PublishedRow(X86, "x86_64", "tcp", 447.57, 2.234, 5),
    PublishedRow(X86, "x86_64", "sharedvolume", 394.55, 2.535, 6),
    PublishedRow(X86, "x86_64", "combined", 428.60, 2.333, 4),
    PublishedRow(ARM64, "aarch64", "tcp", 475.03, 2.105, 3),
    PublishedRow(ARM64, "aarch64", "sharedvolume", 451.71, 2.214, 4),
    PublishedRow(ARM64, "aarch64", "combined", 433.94, 2.304, 4),
)


@dataclass(frozen=True, slots=True)
class PublishedTransfer:
    """One published rate through a mesh, as printed; ``arm`` is the path that it stands for."""

    where: str
    arm: str
    printed_arm: str
    transfer_mb_per_s: float


BETWEEN: Final = "an x86_64 and an ARM host, 10 Gb/s network"

THROUGH_ENVOY: Final = (
    PublishedTransfer(BETWEEN, "mesh-tcp", "TCP", 264.980),
    PublishedTransfer(BETWEEN, "mesh-unix", "UDS", 296.094),
)


@dataclass(frozen=True, slots=True)
class Replication:
    """A published ratio beside ours. ``outcome`` is None outside the replication experiment.

    ``published_consistent``: None where nothing is printed by which to tell.
    """

    where: str
    comparison: str
    published_ratio: float
    published_consistent: bool | None
    ours: Verdict
    outcome: Outcome | None


def family(path: str) -> str:
    """Published arm that a path stands for: ``tcp-bridge`` -> ``tcp``."""
    return path.partition("-")[0]


def published_ratio(where: str, arm: str) -> tuple[float, bool]:
    """Throughput of ``arm`` over tcp at ``where``, and whether both rows agree with themselves."""
    rows = {row.arm: row for row in CONTAINER_TO_CONTAINER if row.where == where}
    both = (rows[arm], rows["tcp"])
    ratio = both[0].throughput_rps / both[1].throughput_rps
    return ratio, all(row.consistent for row in both)


def published_transfer_ratio() -> float:
    """Rate from Unix socket to Unix socket over that from loopback TCP to loopback TCP: 1.117."""
    rates = {row.arm: row.transfer_mb_per_s for row in THROUGH_ENVOY}
    return rates["mesh-unix"] / rates["mesh-tcp"]


def outcome(published: float, ours: Verdict) -> Outcome:
    """Direction only: undetectable unless ours is *different*, then whether the sides agree."""
    if ours.word != "different" or ours.ratio is None:
        return "undetectable"
    return "confirmed" if (ours.ratio > 1) == (published > 1) else "contradicted"


def replicate(
    verdicts: Sequence[Verdict], paths: dict[str, str], experiment: str
) -> list[Replication]:
    """Each published ratio beside each of ours that contrasts the same two paths.

    ``paths``: arm -> path. A web application counts by its throughput, a stream by its payload a
    second; a contrast of any other metric has no published ratio.
    """
    found: list[Replication] = []
    for verdict in verdicts:
        arm = paths.get(verdict.arm, verdict.arm)
        base = paths.get(verdict.baseline, verdict.baseline)
        if verdict.metric == PRIMARY:
            found += _beside_web(verdict, family(arm), family(base), experiment)
        elif verdict.metric == TRANSFER and (arm, base) == ("mesh-unix", "mesh-tcp"):
            ratio = published_transfer_ratio()
            said = outcome(ratio, verdict) if experiment == STREAM_EXPERIMENT else None
            found.append(Replication(BETWEEN, f"{arm}/{base}", ratio, None, verdict, said))
    return found


def _beside_web(verdict: Verdict, arm: str, base: str, experiment: str) -> Iterator[Replication]:
    """The published sharedvolume/tcp and combined/tcp ratios; any TCP path may be the baseline."""
    if base != "tcp" or arm not in ("sharedvolume", "combined"):
        return
    for where in (LOCAL, X86, ARM64):
        ratio, consistent = published_ratio(where, arm)
        said = outcome(ratio, verdict) if experiment == EXPERIMENT else None
        yield Replication(where, f"{arm}/tcp", ratio, consistent, verdict, said)
