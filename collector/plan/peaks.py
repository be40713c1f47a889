"""What an open loop's share of the peak is in requests/s: asked of this lab's own closed loops.

The peaks are ``python -m analysis peak``'s; the rates that follow stand in the plan, so that a
campaign keeps them whatever is measured later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collector.plan.asking import NotAnsweredError, ask
from collector.plan.experiment import Experiment
from collector.plan.findings import BadInputError, Finding
from collector.plan.model import Load
from collector.plan.pairing import Pair
from collector.plan.tools import loads_of, refusal

# (experiment, host, peer or "", variant, arm) -> requests/s
Peaks = Mapping[tuple[str, str, str, str, str], float]
NO_PEAKS: Final[Peaks] = {}


def known_peaks(state: Path, experiment: Experiment) -> Peaks:
    """Return every peak that this lab knows; none unless the experiment has an open loop of one.

    Raises ``NotAnsweredError``.
    """
    wanted = any(entry.of_peak for entry in experiment.spec.load)
    if not wanted or not (state / "results" / "dataset" / "index.json").is_file():
        return NO_PEAKS
    said = ask("analysis", "peak", "--state", str(state.resolve()), "--json")
    try:
        return {
            (one["experiment"], one["host"], one["peer"], one["variant"], one["arm"]): float(
                one["peak_rps"]
            )
            for one in json.loads(said)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnsweredError(f"analysis peak printed what is not its JSON: {error!r}") from None


def planned_loads(experiment: Experiment, pair: Pair, variant: str, peaks: Peaks) -> list[Load]:
    """Return the loads of one cell's hosts, in the file's order; keepalive is on unless stated.

    Raises ``BadInputError`` where an open loop's peak is not known, or its rate cannot be kept.
    """
    loads = []
    for number, entry in enumerate(experiment.spec.load):
        peak = None
        if entry.of_peak is not None:
            where = experiment.where("load", number, "of_peak")
            peak = _slowest(experiment, entry.of_peak.experiment, pair, variant, peaks, where)
        for load in loads_of(entry, peak):
            if peak is not None and (reason := refusal(load)):
                message = f"{load.offered} is {load.rate_rps} requests/s on {pair.host.name}"
                raise BadInputError([Finding("error", where, f"{message}: {reason}")])
            loads.append(load)
    return loads


def _slowest(
    experiment: Experiment, measured: str, pair: Pair, variant: str, peaks: Peaks, where: str
) -> float:
    hosts = (pair.host.name, pair.peer.name if pair.peer else "")
    known = {arm: peaks.get((measured, *hosts, variant, arm)) for arm in experiment.spec.arms}
    unknown = [arm for arm, peak in known.items() if not peak]
    if unknown:
        message = (
            f"the peak of {', '.join(unknown)} on {pair.host.name} is not known here: measure it "
            f"first (make lab experiment={measured}), or give rate_rps in place of of_peak"
        )
        raise BadInputError([Finding("error", where, message)])
    return min(peak for peak in known.values() if peak)
