"""What a rule looks at, and what a rule is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from collector.plan.experiment import Experiment
from collector.plan.findings import Finding
from collector.plan.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Case:
    """An experiment with the inventory and folder that it is planned for.

    ``blocks`` and ``cap`` are blocks a cell in the first tranche, and in all of them.
    """

    experiment: Experiment
    inventory: Inventory
    root: Path
    blocks: int
    cap: int

    def error(self, message: str, *path: str | int) -> Finding:
        """An error at a key of the experiment file."""
        return Finding("error", self.experiment.where(*path), message)

    def warning(self, message: str, *path: str | int) -> Finding:
        """A warning at a key of the experiment file."""
        return Finding("warning", self.experiment.where(*path), message)


class Rule(Protocol):
    """One static rule. Its class's docstring says what it asks and why."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Yield what is wrong; nothing where the rule is satisfied."""
        ...
