"""The metrics that are contrasted: name, words, display unit, direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """One value a run. ``scale`` turns the stored unit into ``unit``, the one that is shown."""

    name: str
    label: str
    unit: str
    scale: float
    higher_is_better: bool
    caveat: str = ""

    @property
    def words(self) -> str:
        """Name for a sentence: ``requests/s``, ``p50 latency``."""
        return self.unit if self.name == "throughput_rps" else self.label


PRIMARY: Final = Metric("throughput_rps", "throughput", "requests/s", 1.0, True)

METRICS: Final = (
    PRIMARY,
    Metric("latency_p50_s", "p50 latency", "us", 1e6, False),
    Metric(
        "latency_p99_s",
        "p99 latency",
        "us",
        1e6,
        False,
        "closed loop: not a fair tail comparison across arms whose throughput differs",
    ),
    Metric("cpu_per_request_s", "CPU per request", "us", 1e6, False),
)
