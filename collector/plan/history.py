"""How noisy this lab is by its own A/A pairs, as ``python -m analysis noise`` tells it."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector.plan.asking import NotAnsweredError, ask
from collector.plan.model import Plan

ASSUMED_SD: Final = 0.05  # of the paired log-ratio, quick runs with CPUs set apart


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of a paired log-ratio. ``pairs``: known from so many, None if assumed."""

    sd: float = ASSUMED_SD
    pairs: int | None = None

    @property
    def source(self) -> str:
        """Where it is from, for a person."""
        if self.pairs is None:
            return "assumed; this lab has no A/A pairs under this profile and load yet"
        return f"from {self.pairs} A/A pairs of this lab"


def known_noise(state: Path, plan: Plan) -> Noise:
    """The noisiest of the plan's loads, by this lab's history under its profile; else assumed.

    Raises ``NotAnsweredError`` where there is a dataset that cannot be read.
    """
    if not (state / "results" / "dataset" / "index.json").is_file():
        return Noise()
    said = ask("analysis", "noise", "--state", str(state.resolve()), "--json")
    loads = {(one.load.tool, one.load.concurrency, one.load.offered) for one in plan.blocks}
    try:
        known = [
            Noise(float(one["sd"]), int(one["pairs"]))
            for one in json.loads(said)
            if one["profile"] == plan.profile.name
            and _is_of((one["tool"], one["concurrency"], one["offered"]), loads)
            and one["sd"] is not None
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnsweredError(f"analysis noise printed what is not its JSON: {error!r}") from None
    return max(known, key=lambda one: one.sd, default=Noise())


def _is_of(load: tuple[str, int, str], asked: Set[tuple[str, int, str]]) -> bool:
    """Whether a load is one of those asked, or a part of one: ``ipc-latency`` at ``64 B`` is."""
    tool, concurrency, _ = load
    return load in asked or (tool.partition("-")[0], concurrency, "") in asked
