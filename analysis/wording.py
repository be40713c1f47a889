"""Numbers and answers in words. The path is always named, never just "TCP"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from analysis.across_wording import page_lines
from analysis.change import listed, percent, span
from analysis.contrast import by_number
from analysis.failures import Failures
from analysis.metric import OF_CELLS, Metric, metric_of, words_of
from analysis.result import Analysis
from analysis.verdict import Verdict


def metric(verdict: Verdict) -> Metric:
    """A verdict's metric, in the words of its cell's tool."""
    return metric_of(verdict.cell.tool, verdict.metric)


def change(verdict: Verdict) -> str:
    """``+12.3 % requests/s [+10.1, +14.6]``."""
    words = metric(verdict).words
    if verdict.ratio is None:
        return f"no {words} to compare"
    text = f"{percent(verdict.ratio)} {words}"
    return f"{text} {interval(verdict)}"


def interval(verdict: Verdict) -> str:
    """``[+10.1, +14.6]`` in percent, or that there is none."""
    return span(verdict.low, verdict.high)


def direction(verdict: Verdict, metric: Metric) -> str:
    """``better`` or ``worse`` than the baseline for a different verdict, else the verdict."""
    known = metric.higher_is_better is not None
    if verdict.word != "different" or verdict.ratio is None or not known:
        return verdict.word
    return "better" if (verdict.ratio > 1) == metric.higher_is_better else "worse"


def arm_name(analysis: Analysis, arm: str) -> str:
    """The arm, and its path where the name does not say it."""
    path = analysis.paths.get(arm)
    return arm if path is None or path == arm else f"{arm} (path {path})"


def further_blocks(verdict: Verdict) -> str:
    """``about 12 more blocks would say``, for an inconclusive verdict."""
    if verdict.blocks_needed is None:
        return ""
    more = verdict.blocks_needed - verdict.n
    return f"about {more} more block{'s' if more != 1 else ''} needed"


def remark(verdict: Verdict) -> str:
    """Why it is inconclusive, what would settle it, which blocks had no pair; else empty."""
    notes = [verdict.reason] if verdict.word == "inconclusive" else []
    if verdict.blocks_needed is not None:
        notes.append(further_blocks(verdict))
    if verdict.unpaired:
        notes.append(f"{verdict.unpaired} block{'s' * (verdict.unpaired > 1)} without a pair")
    return "; ".join(notes)


def conditions_line(analysis: Analysis) -> str:
    """The answer's first line: placement, hosts, tools, conditions, profile, blocks."""
    runs = analysis.runs
    placement = listed(runs["placement"].fillna("unknown").sort_values())
    connections = listed(sorted(set(runs["concurrency"].astype(int))))
    flows = {words_of(cell.tool).flow for cell in analysis.cells}
    flow = flows.pop() if len(flows) == 1 else "connection"
    plural = flow if connections == "1" else f"{flow}s"
    offered = sorted({cell.offered for cell in analysis.cells} - {""}, key=by_number)
    parts = [
        f"Placement {placement} on {_where(analysis)}",
        listed(sorted(runs["tool"].dropna().unique())),
        f"{connections} {plural}",
        *([listed(offered)] if offered else []),
        *_variants(analysis),
        f"{analysis.profile} profile{' (first look)' if analysis.quick else ''}",
    ]
    faults = sorted({str(c) for c in runs["conditions"].dropna()} - {""})
    if faults:
        parts.append(f"declared faults: {listed(faults)}")
    return f"{', '.join(parts)}, {_blocks(analysis)}."


def _where(analysis: Analysis) -> str:
    """``lab-2 (virtual, x86_64)``; with its peer ``lab-2 and lab-3 (virtual, x86_64)``."""
    rows = analysis.runs.drop_duplicates(["host", "peer"]).sort_values(["host", "peer"])
    places = [_place(row, analysis.peers) for row in rows.itertuples()]
    return "; ".join(places) if rows["peer"].any() else listed(places)


def _place(row: Any, peers: Mapping[str, str]) -> str:
    kind = f"{row.kind}, {row.arch}"
    emulated = ", emulated" if row.emulated is True else ""
    if not row.peer:
        return f"{row.host} ({kind}{emulated})"
    far = peers.get(row.peer, kind)
    if far == kind:
        return f"{row.host} and {row.peer} ({kind}{emulated})"
    return f"{row.host} ({kind}) and {row.peer} ({far}){emulated}"


def _variants(analysis: Analysis) -> list[str]:
    variants = sorted({str(v) for v in analysis.runs["variant"].dropna()} - {""})
    if not variants:
        return list(analysis.conditions)
    named = {level.split("=")[0] for variant in variants for level in variant.split(",")}
    shared = [c for c in analysis.conditions if c.split("=")[0] not in named]
    return [listed(variants), *shared]


def _blocks(analysis: Analysis) -> str:
    counts = sorted({v.blocks for v in analysis.primary if is_asked(v)}) or [0]
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    noun = "block" if counts == [1] else "blocks"
    return f"{number} {noun}{' a cell' if len(analysis.cells) > 1 else ''}"


def answer(analysis: Analysis) -> list[str]:
    """The findings' lines, and before them one for proofs that did not hold."""
    warning = proof_line(analysis)
    return [*([warning] if warning else []), *findings(analysis)]


def proof_line(analysis: Analysis) -> str | None:
    """What did not hold, for the answer's first line; None where everything did."""
    lost = analysis.failed_proofs
    if not lost:
        return None
    names = "; ".join(f"{proof.name} ({proof.claim.rstrip('.')})" for proof in lost)
    return (
        f"Proof failed: {len(lost)} of {len(analysis.proofs)} did not hold: {names}. The figures "
        "may be of another path than the one that they name."
    )


def findings(analysis: Analysis) -> list[str]:
    """Plain lines: where and how, what each contrast came to, what it came to across hosts.

    A contrast of real and of emulated hosts has a line for each.
    """
    guests = analysis.emulated_cells
    real = guests < set(analysis.cells)
    lines = [
        line
        for arm, base in analysis.plan.contrasts
        for emulated in ([False] if real else []) + ([True] if guests else [])
        for line in _contrast_lines(analysis, arm, base, emulated)
    ]
    across = [line for page in analysis.across for line in page_lines(page)]
    return [conditions_line(analysis), *lines, *_failure_lines(analysis), *across]


def _failure_lines(analysis: Analysis) -> Iterator[str]:
    """A line a cell: what each arm's callers saw fail."""
    for cell in analysis.cells:
        arms = [one for one in analysis.failures if one.cell == cell]
        if arms:
            yield f"Failed, {cell.label}: {'; '.join(map(_failed, arms))}."


def _failed(one: Failures) -> str:
    kinds = [kind for kind, _ in sorted(one.kinds.items(), key=lambda item: -item[1])]
    seen = f" ({listed(kinds)})" if kinds else ""
    tail = "" if one.p99_s is None else f", p99 {one.p99_s * 1e3:,.1f} ms"
    return f"{one.arm} {100 * one.share.value:.1f} %{seen}{tail}"


def is_asked(verdict: Verdict) -> bool:
    """Whether there is something to judge: what a mechanism does not have, Validity lists."""
    return verdict.n > 0 or verdict.cell.tool not in OF_CELLS


def _contrast_lines(analysis: Analysis, arm: str, base: str, emulated: bool) -> Iterator[str]:
    """A line, with a part for each thing that the cells' primary metrics are.

    A time and a rate are no range.
    """
    guests = analysis.emulated_cells
    own: dict[str, list[Verdict]] = {}
    asked = False
    for v in analysis.primary:
        if (v.arm, v.baseline, v.cell in guests) == (arm, base, emulated):
            asked = True
            if is_asked(v):
                own.setdefault(metric(v).words, []).append(v)
    name = f"{arm_name(analysis, arm)} vs {arm_name(analysis, base)}"
    name += ", emulated" if emulated else ""
    if own:
        parts = [_part(words, verdicts) for words, verdicts in own.items()]
        yield f"{name}: {'; '.join(parts)}."
    elif asked:
        yield f"{name}: nothing to compare, for what was not measured (Validity says why)."


def _part(unit: str, own: list[Verdict]) -> str:
    if len(own) == 1:
        return f"{change(own[0])}, {_single(own[0])}"
    words = [direction(v, metric(v)) for v in own]
    counts = [
        f"{text} in {words.count(word)}"
        for word, text in (
            ("better", "different (faster)"),
            ("worse", "different (slower)"),
            ("equivalent", "equivalent"),
            ("inconclusive", "inconclusive"),
        )
        if word in words
    ]
    ratios = [v.ratio for v in own if v.ratio is not None]
    span = f", {percent(min(ratios))} to {percent(max(ratios))} {unit}" if ratios else ""
    return f"{', '.join(counts)} of {len(own)} cells{span}"


def _single(verdict: Verdict) -> str:
    if verdict.word == "equivalent":
        return f"equivalent within {margin_text(verdict.margin)}"
    if verdict.word == "inconclusive":
        more = further_blocks(verdict)
        return f"inconclusive: {verdict.reason}{f'; {more}' if more else ''}"
    return verdict.word


def gate_line(analysis: Analysis) -> str | None:
    """A warning where the baseline differs from itself; None where it does not."""
    failed = [gate for gate in analysis.gates if gate.outcome == "failed"]
    if not failed:
        return None
    cells = "; ".join(f"{g.verdict.cell.label}: {change(g.verdict)}" for g in failed)
    end = "a first look only warns." if analysis.quick else "the campaign fails its A/A gate."
    return f"A/A: two identical deployments of {analysis.plan.baseline} differ ({cells}); {end}"


def margin_text(ratio_less_one: float | None) -> str:
    """``2.0 %``; ``none`` where there is none."""
    return "none" if ratio_less_one is None else f"{ratio_less_one * 100:.1f} %"


def floor_text(floor: float | None) -> str:
    """A noise floor in log units as percent."""
    return margin_text(None if floor is None else math.expm1(floor))


def microseconds(seconds: float | None) -> str:
    """``+12.3`` (us); ``none`` where there is none."""
    return "none" if seconds is None else f"{seconds * 1e6:+,.1f}"


def quantity(value: float | None, metric: Metric) -> str:
    """A stored value in the metric's display unit, without the unit."""
    if value is None or math.isnan(value):
        return "none"
    shown = value * metric.scale
    return f"{shown:,.0f}" if shown >= 1000 else f"{shown:.1f}"
