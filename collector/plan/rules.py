"""The static rules: what an experiment must satisfy before a plan is made of it.

One class a rule; ``check`` applies them all and reports everything at once. A rule looks at one
``Case`` and yields findings; it must bear whatever the other rules complain about. To add one,
write the class in the module it belongs to (``rules_arms``, ``rules_load``, ``rules_hosts``) and
name it in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collector.plan import rules_arms, rules_hosts, rules_load
from collector.plan.case import Case, Rule
from collector.plan.experiment import Experiment, tranche_bounds
from collector.plan.findings import BadInputError, Finding
from collector.plan.inventory import Inventory

RULES: Final[Sequence[Rule]] = (
    rules_arms.MoreThanOneArm(),
    rules_arms.BaselineIsAnArm(),
    rules_arms.ContrastsNameArms(),
    rules_arms.ArmsDifferInTheFactor(),
    rules_arms.CrossIsApart(),
    rules_arms.JobFileExists(),
    rules_arms.ProgramCanRun(),
    rules_arms.VariablesAreDeclared(),
    rules_arms.EngineVariablesAreLeftAlone(),
    rules_arms.SocketPathFits(),
    rules_load.ToolIsKnown(),
    rules_load.ToolAcceptsLoad(),
    rules_load.ConcurrencyFitsThreads(),
    rules_load.OpenFilesSuffice(),
    rules_load.KeepaliveIsStated(),
    rules_load.RateIsStatedOnce(),
    rules_load.FailuresAreCountedByKind(),
    rules_load.CellsAreDistinct(),
    rules_load.CapCoversBlocks(),
    rules_load.BlocksSuffice(),
    rules_load.PlanIsBounded(),
    rules_hosts.HostsExist(),
    rules_hosts.EmulatedHostsAreAskedFor(),
    rules_hosts.FarEndExists(),
    rules_hosts.LoadHostIsApart(),
    rules_hosts.PlacementIsApart(),
    rules_hosts.PartsHaveCpusToBeApart(),
)


def check(
    experiment: Experiment, inventory: Inventory, root: Path, blocks: int | None = None
) -> list[Finding]:
    """Apply every rule. ``root`` is the folder that job files are named from.

    ``blocks`` overrides the experiment's number of blocks, as in ``make_plan``. Returns the
    findings in the order of ``RULES``; empty where nothing is to be said. Reads job files only.
    """
    first, cap = tranche_bounds(experiment.spec, blocks)
    case = Case(experiment, inventory, root, first, cap)
    return [finding for rule in RULES for finding in rule.check(case)]


def refuse_errors(findings: Sequence[Finding]) -> list[Finding]:
    """Return the warnings; raises ``BadInputError`` with the errors where there are any."""
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise BadInputError(errors)
    return list(findings)
