"""Published claims: one TOML file each in claims/, as printed, and what of ours stands beside them.

A claim has its source, what it says, the published ratio or only its direction, and either where in
this lab it can be measured (``here``) or why it cannot (``not_here``).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from analysis.consistency import holds, little
from analysis.errors import AnalysisError, UnknownNameError
from analysis.metric import OF_CELLS, STREAM, metrics_in

FOLDER: Final = Path(__file__).parents[1] / "claims"
_TOOLS: Final = ("wrk", "sysbench", STREAM, *sorted(OF_CELLS))
METRICS: Final = {metric.name: metric for metric in metrics_in(_TOOLS)}
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=400)]


class ClaimError(AnalysisError):
    """A claim file that cannot be used; the text names file, line and what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Printed(_Model):
    """Figures as printed, of the arm and of what it is compared with.

    With both latencies, in ms, and the concurrency, each row is put to Little's law.
    """

    unit: Text
    arm: Positive
    baseline: Positive
    concurrency: Annotated[int, Field(ge=1)] | None = None
    arm_latency_ms: Positive | None = None
    baseline_latency_ms: Positive | None = None


class Here(_Model):
    """What of this lab stands for it: a declared contrast, in the cells that ``cell`` tells."""

    experiment: Text
    arm: Text
    baseline: Text
    cell: dict[Literal["tool", "concurrency", "offered", "variant"], str | int] = {}
    differs: Text


class Claim(_Model):
    """One claim. ``more``: what is said of arm against baseline where no figure is printed.

    ``band``: by what share our ratio may miss the published one and still be of its size.
    """

    says: Text
    source: Text
    where: Text | None = None
    metric: Text | None = None
    printed: Printed | None = None
    published_ratio: Positive | None = None
    more: bool | None = None
    band: Annotated[float, Field(gt=0, le=1)] | None = None
    here: Here | None = None
    not_here: Text | None = None
    name: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        said = sum(one is not None for one in (self.printed, self.published_ratio, self.more))
        if (self.here is None) == (self.not_here is None):
            raise ValueError("expected either [here] or not_here")
        if said > 1 or (self.here and not said):
            raise ValueError("expected one of [printed], published_ratio and more")
        if self.here and (self.metric is None or (self.ratio is None) != (self.band is None)):
            raise ValueError("expected a metric with [here], and a band where there is a ratio")
        return self

    @property
    def ratio(self) -> float | None:
        """Arm over baseline; None where only the direction was said."""
        return self.printed.arm / self.printed.baseline if self.printed else self.published_ratio

    @property
    def says_more(self) -> bool:
        """Whether the arm's value is said to be the larger."""
        return bool(self.more) if self.ratio is None else self.ratio > 1

    @property
    def consistent(self) -> bool | None:
        """Whether the printed rows agree with themselves; None where nothing tells."""
        one = self.printed
        if one is None or one.concurrency is None:
            return None
        rows = ((one.arm, one.arm_latency_ms), (one.baseline, one.baseline_latency_ms))
        checks = [
            holds(little(rate, ms / 1e3, one.concurrency)) for rate, ms in rows if ms is not None
        ]
        return all(checks) if checks else None


def read_claims(folder: Path = FOLDER) -> list[Claim]:
    """Every claim of a folder, by name. Raises ``ClaimError`` for the first that is wrong."""
    return [read_claim(path) for path in sorted(folder.glob("*.toml"))]


def find_claim(name: str, folder: Path = FOLDER) -> Claim:
    """The claim of that name, or in that file."""
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        near = difflib.get_close_matches(name, [one.stem for one in folder.glob("*.toml")], 1)
        hint = f"; is {near[0]!r} meant?" if near else ""
        raise UnknownNameError(f"no claim {name!r} in {folder}{hint}")
    return read_claim(path)


def read_claim(path: Path) -> Claim:
    """Read one claim file. Raises ``ClaimError``."""
    try:
        text = path.read_text(encoding="utf-8")
        body = tomllib.loads(text)
    except OSError as error:
        raise ClaimError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ClaimError(f"{path}: not TOML: {error}") from None
    try:
        claim = Claim.model_validate({**body, "name": path.stem})
    except ValidationError as error:
        # A key that is misspelt is missing too: the misspelling is what helps.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        raise ClaimError(_said(path, text, first)) from None
    if claim.metric is not None and claim.metric not in METRICS:
        near = difflib.get_close_matches(claim.metric, METRICS, 1)
        hint = f"; is {near[0]!r} meant?" if near else ""
        raise ClaimError(
            f"{path}:{_line(text, 'metric')}: metric {claim.metric!r} is unknown{hint} "
            f"(one of {', '.join(METRICS)})"
        )
    return claim


def _said(path: Path, text: str, problem: Mapping[str, Any]) -> str:
    keys = [str(key) for key in problem["loc"]]
    place = f"{path}:{_line(text, keys[-1])}" if keys else str(path)
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        said = "unknown key"
    return f"{place}: {'.'.join(keys)}{': ' if keys else ''}{said} (docs/claims.md)"


def _line(text: str, key: str) -> int:
    """The line on which a key is set; the first where it is not."""
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"\s*\[?{re.escape(key)}\]?\s*(=|$)", line):
            return number
    return 1
