"""The experiment file: one question, its arms, its load (docs/contracts.md, Experiment).

Input: YAML (``yamlfile`` says which subset). Output: an ``Experiment``, immutable. Refused, all
problems at once and each with file, line and column: unknown, duplicate and missing keys, values of
the wrong kind, names that are no RFC 1123 labels. What needs more than one key to judge (is the
baseline an arm?) is left to ``rules``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
)

from collector.plan.findings import (
    NAME_LIMIT,
    BadInputError,
    Finding,
    is_label,
    shown,
    suggestion,
)
from collector.plan.yamlfile import SIZE_LIMIT, Source, read_yaml

Value = bool | int | float | str
ProfileName = Literal["quick", "standard", "thorough"]

BLOCKS_LIMIT: Final = 1000
CONCURRENCY_LIMIT: Final = 65535
RATE_LIMIT: Final = 10_000_000
TEXT_LIMIT: Final = 1000
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
DIRECTORY: Final = "dir"
HOST_CPUS: Final = "host_cpus"


def _label(text: str) -> str:
    if not is_label(text, NAME_LIMIT):
        raise ValueError(
            f"expected a name of 1 to {NAME_LIMIT} of a-z, 0-9 and inner hyphens, got {shown(text)}"
        )
    return text


def _value(value: object) -> Value:
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected text, a number, true or false, got {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    if isinstance(value, str) and (len(value) > TEXT_LIMIT or not value.isprintable()):
        raise ValueError(f"expected one printable line of at most {TEXT_LIMIT} characters")
    return value


def _sentence(text: str) -> str:
    flat = " ".join(text.split())
    if not flat or not flat.isprintable() or len(flat) > TEXT_LIMIT:
        raise ValueError(f"expected a sentence of at most {TEXT_LIMIT} printable characters")
    return flat


Label = Annotated[str, AfterValidator(_label)]
Sentence = Annotated[str, AfterValidator(_sentence)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$")]
Words = Annotated[
    list[Annotated[str, AfterValidator(lambda word: str(_value(word)))]],
    Field(min_length=1, max_length=64),
]
Variables = dict[VariableName, Annotated[Value, PlainValidator(_value)]]
Concurrency = Annotated[int, Field(ge=1, le=CONCURRENCY_LIMIT)]
Rate = Annotated[int, Field(ge=1, le=RATE_LIMIT)]
Blocks = Annotated[int, Field(ge=1, le=BLOCKS_LIMIT)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Arm(_Model):
    """One way to do it: a job file or a program (the experiment's, unless named), its variables."""

    job: str | None = None
    program: Words | None = None
    variables: Variables = {}
    also_differs: Sentence | None = None


class Peak(_Model):
    """Shares of what the slowest arm of ``experiment`` reached at most, in its closed loops."""

    experiment: Label
    shares: Annotated[list[Annotated[float, Field(ge=0.01, le=2)]], Field(min_length=1)]


class LoadEntry(_Model):
    """One load tool. Every number in ``concurrency`` is a cell of its own.

    ``requests`` None: the profile's seconds are measured. ``keepalive`` None: not stated. An open
    loop has either ``rate_rps`` or ``of_peak``, and every rate, or share, is a cell of its own.
    """

    tool: str
    concurrency: Annotated[list[Concurrency], Field(min_length=1, max_length=64)]
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    requests: Annotated[int, Field(ge=1, le=10**9)] | None = None
    keepalive: bool | None = None
    rate_rps: Annotated[list[Rate], Field(min_length=1, max_length=64)] | None = None
    of_peak: Peak | None = None


class Spec(_Model):
    """The file's content, key by key.

    ``peer``: whether the topology spans two hosts, or which host or group its far end is. ``aa``:
    the arms are the same, and nothing is to be found. ``failures``: failed requests are what is
    asked, so a run that has them is a good one. ``calls``: the system calls of every arm are
    counted too, in the first block of each cell, on runs of their own. ``program``: what runs on
    the measured host itself, in place of a job.
    """

    question: Sentence
    factor: VariableName
    baseline: str
    job: str | None = None
    program: Words | None = None
    variables: Variables = {}
    arms: Annotated[dict[Label, Arm], Field(max_length=64)]
    cross: dict[
        VariableName, Annotated[list[Annotated[Value, PlainValidator(_value)]], Field(min_length=2)]
    ] = {}
    contrasts: (
        Annotated[
            list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)
        ]
        | None
    ) = None
    load: Annotated[list[LoadEntry], Field(min_length=1, max_length=16)]
    profile: ProfileName
    blocks: Blocks
    blocks_cap: Blocks | None = None
    hosts: Annotated[list[str], Field(min_length=1)] | None = None
    peer: bool | Annotated[str, Field(min_length=1)] = False
    emulated: bool = False
    aa: bool = False
    failures: bool = False
    calls: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """A read experiment: ``name`` is the file's stem, ``source`` knows the lines."""

    name: str
    spec: Spec
    source: Source

    def with_emulated(self) -> Experiment:
        """Return the same experiment, emulated hosts measured too."""
        return replace(self, spec=self.spec.model_copy(update={"emulated": True}))

    def where(self, *path: str | int) -> str:
        """``file:line:column: key.path`` of a key."""
        return self.source.where(*path)

    def job_of(self, arm: str) -> str | None:
        """Job file of an arm; None where it is a program, or nothing names a job."""
        own = self.spec.arms[arm]
        return own.job or (None if own.program else self.spec.job)

    def program_of(self, arm: str) -> tuple[str, ...]:
        """Words of an arm's program, as they stand in the file; empty where it is a job."""
        own = self.spec.arms[arm]
        return tuple(own.program or (() if own.job else self.spec.program or ()))

    def variables_of(self, arm: str) -> dict[str, Value]:
        """Variables of an arm with the common ones beneath."""
        return {**self.spec.variables, **self.spec.arms[arm].variables}

    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """Declared contrasts, else every arm against the baseline."""
        if self.spec.contrasts is not None:
            return tuple((first, second) for first, second in self.spec.contrasts)
        base = self.spec.baseline
        return tuple((arm, base) for arm in self.spec.arms if arm != base)


def filled(word: str, variables: Mapping[str, Value]) -> str:
    """A program's word with its placeholders filled; ``{dir}`` is the run's own, and stays.

    >>> filled("--latency={bytes}", {"bytes": "64"}), filled("{dir}/x", {})
    ('--latency=64', '{dir}/x')
    """
    return PLACEHOLDER.sub(
        lambda found: found[0] if found[1] == DIRECTORY else level_name(variables[found[1]]), word
    )


def level_name(level: Value) -> str:
    """A level as it stands in a variant's name: ``true``, ``false``, or the value's own text."""
    return str(level).lower() if isinstance(level, bool) else str(level)


def tranche_bounds(spec: Spec, blocks: int | None = None) -> tuple[int, int]:
    """Blocks a cell in the first tranche and in all of them; ``blocks`` overrides both."""
    if blocks is not None:
        return blocks, blocks
    return spec.blocks, spec.blocks_cap or spec.blocks


_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a mapping (key: value)",
    "model_type": "expected a mapping (key: value)",
    "model_attributes_type": "expected a mapping (key: value)",
    "literal_error": "expected {expected}",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "too_short": "expected at least {min_length} of them",
    "too_long": "expected at most {max_length} of them",
    "string_pattern_mismatch": "expected a name of letters, digits, _ and -, a letter first",
}
_ELSEWHERE: Final[Mapping[str, str]] = {
    "duration": "; the measured time comes from 'profile'",
    "duration_s": "; the measured time comes from 'profile'",
    "warmup": "; the warm-up comes from 'profile'",
}


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    match path:
        case ("arms", _):
            return list(Arm.model_fields)
        case ("load", _, "of_peak"):
            return list(Peak.model_fields)
        case ("load", _):
            return list(LoadEntry.model_fields)
        case _:
            return list(Spec.model_fields)


def _translate(problem: Mapping[str, Any], source: Source) -> Finding:
    """One of pydantic's errors as a finding in the file's own terms."""
    path = tuple(part for part in problem["loc"] if part != "[key]")
    kind = problem["type"]
    if kind == "extra_forbidden":
        key = str(path[-1])
        hint = _ELSEWHERE.get(key) or suggestion(key, _keys_at(path[:-1]))
        return Finding("error", source.where(*path), f"unknown key{hint}")
    if kind == "missing":
        return Finding("error", source.where(*path), "missing key; add it")
    if kind == "value_error":
        return Finding("error", source.where(*path), str(problem["ctx"]["error"]))
    expected = _EXPECTED.get(kind)
    if expected is None:
        return Finding("error", source.where(*path), problem["msg"])
    text = expected.format(**problem.get("ctx", {}))
    return Finding("error", source.where(*path), f"{text}, got {shown(problem['input'])}")


def parse_experiment(data: bytes, name: str, shown_as: str | None = None) -> Experiment:
    """Read an experiment from bytes. ``shown_as`` is the file's name in messages.

    Raises ``BadInputError`` with every problem of the file.
    """
    file = shown_as or f"{name}.yml"
    findings: list[Finding] = []
    if not is_label(name, NAME_LIMIT):
        message = f"the file's name is the experiment's: 1 to {NAME_LIMIT} of a-z, 0-9 and hyphens"
        findings.append(Finding("error", file, message))
    plain, source, complaints = read_yaml(data, file)
    findings += complaints
    if not isinstance(plain, dict):
        message = f"expected a mapping with the keys {', '.join(Spec.model_fields)}"
        raise BadInputError([*findings, Finding("error", source.where(), message)])
    try:
        spec = Spec.model_validate(plain)
    except ValidationError as error:
        findings += [_translate(problem, source) for problem in error.errors()]
        raise BadInputError(findings) from None
    if findings:
        raise BadInputError(findings)
    return Experiment(name, spec, source)


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; its name, less the suffix, is the experiment's.

    Raises ``BadInputError`` with every problem, also where the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadInputError([Finding("error", str(path), message)]) from None
    return parse_experiment(data, path.stem, str(path))
