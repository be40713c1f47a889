"""Rules about load tools and the number of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from collector.plan.case import Case
from collector.plan.findings import Finding, shown, suggestion
from collector.plan.pairing import pair_hosts
from collector.plan.tools import known_tools, loads_of, refusals

OPEN_FILES: Final = 16384  # what the lab's hosts allow a process
FILES_PER_CONNECTION: Final = 4
RUNS_LIMIT: Final = 1_000_000
ALPHA: Final = 0.05


def blocks_needed(contrasts: int) -> int:
    """Blocks with which a signed-rank test can be significant at 5 % after Holm's adjustment.

    The smallest two-sided p of the exact test over n pairs is 2 / 2**n, and the smallest of m
    contrasts is multiplied by m: n >= 1 + log2(m / 0.05).

    >>> [blocks_needed(m) for m in (1, 2, 10, 30)]
    [6, 7, 9, 11]
    """
    return math.ceil(1 + math.log2(contrasts / ALPHA))


class ToolIsKnown:
    """The load tool is registered with the parsers."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look every tool up."""
        for index, load in enumerate(case.experiment.spec.load):
            if load.tool not in known_tools():
                message = f"no load tool {shown(load.tool)}{suggestion(load.tool, known_tools())}"
                yield case.error(message, "load", index, "tool")


class ToolAcceptsLoad:
    """The tool itself takes the load: wrk cannot count requests, ab has one thread."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Ask the tool."""
        for index, load in enumerate(case.experiment.spec.load):
            for reason in refusals(load):
                yield case.error(f"{reason}; change this entry", "load", index)


class ConcurrencyFitsThreads:
    """Connections divide among the threads: wrk opens t * floor(c/t) and reports c."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Divide."""
        for index, load in enumerate(case.experiment.spec.load):
            for place, concurrency in enumerate(load.concurrency):
                if concurrency % load.threads:
                    message = (
                        f"{concurrency} connections do not divide among {load.threads} threads; "
                        f"expected a multiple of {load.threads}"
                    )
                    yield case.error(message, "load", index, "concurrency", place)


class OpenFilesSuffice:
    """A host opens four files a connection; a run that meets the limit is invalid."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Multiply."""
        for index, load in enumerate(case.experiment.spec.load):
            for place, concurrency in enumerate(load.concurrency):
                files = FILES_PER_CONNECTION * concurrency
                if files > OPEN_FILES:
                    message = (
                        f"{concurrency} connections need {files} open files "
                        f"({FILES_PER_CONNECTION} each), the lab allows {OPEN_FILES}; "
                        f"expected at most {OPEN_FILES // FILES_PER_CONNECTION}"
                    )
                    yield case.error(message, "load", index, "concurrency", place)


class KeepaliveIsStated:
    """ab closes every connection unless told otherwise, wrk keeps them: with ab one must say."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for ab without the key."""
        for index, load in enumerate(case.experiment.spec.load):
            if load.tool == "ab" and load.keepalive is None:
                message = "ab closes connections and wrk keeps them; add 'keepalive: true' or false"
                yield case.error(message, "load", index)


class RateIsStatedOnce:
    """An open loop's rate is given in requests/s or as a share of the peak."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for both."""
        for index, load in enumerate(case.experiment.spec.load):
            if load.rate_rps is not None and load.of_peak is not None:
                yield case.error("rate_rps and of_peak say two things; keep one", "load", index)


class FailuresAreCountedByKind:
    """Where failures are asked about, each is counted by what a caller saw: wrk does."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for another tool, whose lost connections would stand as none."""
        for index, load in enumerate(case.experiment.spec.load):
            if case.experiment.spec.failures and load.tool != "wrk":
                message = f"{load.tool} does not say how requests failed; with 'failures' use wrk"
                yield case.error(message, "load", index, "tool")


class CellsAreDistinct:
    """A cell is (host, variant, tool, concurrency, rate), so a tool has each of these once."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for pairs that stand twice."""
        seen: set[tuple[str, int, str]] = set()
        for index, entry in enumerate(case.experiment.spec.load):
            loads = loads_of(entry)
            for number, load in enumerate(loads):
                cell = (load.tool, load.concurrency, load.offered)
                if cell in seen:
                    rate = f" and {load.offered}" if load.offered else ""
                    message = (
                        f"{load.tool} at {load.concurrency}{rate} stands twice; keep one, "
                        "or ask the other question in an experiment of its own"
                    )
                    place = number * len(entry.concurrency) // len(loads)
                    yield case.error(message, "load", index, "concurrency", place)
                seen.add(cell)


class CapCoversBlocks:
    """The cap is of all tranches, so no smaller than the first."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Compare."""
        if case.cap < case.blocks:
            message = f"{case.cap} is fewer than the {case.blocks} blocks of the first tranche"
            yield case.error(message, "blocks_cap")


class BlocksSuffice:
    """Too few blocks cannot tell arms apart, whatever is measured; the plan says so before."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Compare the cap with what the declared contrasts need."""
        contrasts = len(case.experiment.contrasts())
        if not contrasts:
            return
        needed = blocks_needed(contrasts)
        if case.cap < needed:
            message = (
                f"{contrasts} contrast{'s need' if contrasts > 1 else ' needs'} at least {needed} "
                f"blocks; with {case.cap} this plan can only say inconclusive"
            )
            yield case.warning(message, "blocks")


class PlanIsBounded:
    """A plan is held in memory and written as one file."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Count the runs."""
        spec = case.experiment.spec
        hosts = len(pair_hosts(case.experiment, case.inventory))
        variants = math.prod(len(levels) for levels in spec.cross.values())
        cells = hosts * variants * sum(len(loads_of(entry)) for entry in spec.load)
        runs = cells * case.cap * (len(spec.arms) + 1)
        if runs > RUNS_LIMIT:
            message = f"{runs} runs; at most {RUNS_LIMIT} are planned; lower blocks, cross or load"
            yield case.error(message, "blocks")
