"""Rules about arms, contrasts, crossed factors and job files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from collector.parse import TOOLS
from collector.plan.case import Case
from collector.plan.experiment import DIRECTORY, HOST_CPUS, PLACEHOLDER, Value, level_name
from collector.plan.findings import NAME_LIMIT, Finding, is_label, shown, suggestion
from collector.plan.jobfile import declared_variables

SOCKET_PATH_LIMIT: Final = 107  # sun_path is 108 bytes with its terminating NUL (unix(7))
JOB_SUFFIX: Final = ".nomad.hcl"
JOB_SIZE_LIMIT: Final = 1024 * 1024
JOB_FACTOR: Final = "job"
PROGRAM: Final = "program"


class MoreThanOneArm:
    """One arm alone compares with nothing."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Ask for two arms."""
        if len(case.experiment.spec.arms) < 2:
            yield case.error("expected at least two arms, one of them the baseline", "arms")


class BaselineIsAnArm:
    """The baseline is one of the arms; it is the arm that runs twice (A/A)."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look the baseline up."""
        spec = case.experiment.spec
        if spec.baseline not in spec.arms:
            hint = suggestion(spec.baseline, spec.arms)
            yield case.error(f"no arm {shown(spec.baseline)}{hint}", "baseline")


class ContrastsNameArms:
    """Declared contrasts name two different arms, and each pair once.

    The number of contrasts is what Holm's adjustment is made over, so a pair that stands twice
    would cost power for nothing.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Look every pair up."""
        spec = case.experiment.spec
        seen: dict[frozenset[str], int] = {}
        for index, pair in enumerate(spec.contrasts or ()):
            for arm in dict.fromkeys(pair):
                if arm not in spec.arms:
                    hint = suggestion(arm, spec.arms)
                    yield case.error(f"no arm {shown(arm)}{hint}", "contrasts", index)
            if pair[0] == pair[1]:
                message = f"contrasts {shown(pair[0])} with itself; expected two arms"
                yield case.error(message, "contrasts", index)
                continue
            first = seen.setdefault(frozenset(pair), index)
            if first != index:
                message = f"the same two arms as contrasts[{first}]; keep one of them"
                yield case.error(message, "contrasts", index)


class ArmsDifferInTheFactor:
    """Arms differ from the baseline in the factor, and in nothing else unless the file says why.

    The factor is a variable, or ``job`` where arms differ in their job file. A program may do what
    the baseline's job does: the file says why. With ``aa`` the arms are to be one and the same, so
    that nothing can be found.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Compare every arm with the baseline, then the arms with each other."""
        spec = case.experiment.spec
        seen: dict[str, str] = {}
        for arm, body in spec.arms.items():
            made_of = _made_of(case, arm)
            if spec.factor not in made_of:
                message = f"does not set the factor {shown(spec.factor)}; add it to its variables"
                yield case.error(message, "arms", arm)
                continue
            twin = seen.setdefault(_key(made_of), arm)
            if spec.aa:
                base = spec.baseline if spec.baseline in spec.arms else arm
                if _key(made_of) != _key(_made_of(case, base)):
                    message = "differs from the baseline; with 'aa: true' all arms are the same"
                    yield case.error(message, "arms", arm)
            elif twin != arm:
                message = f"is the same as arm {shown(twin)}; change it or remove it"
                yield case.error(message, "arms", arm)
            elif arm != spec.baseline and spec.baseline in spec.arms:
                yield from self._against_baseline(case, arm, body.also_differs)

    def _against_baseline(self, case: Case, arm: str, why: str | None) -> Iterator[Finding]:
        spec = case.experiment.spec
        made_of, base = _made_of(case, arm), _made_of(case, spec.baseline)
        names = sorted(
            name
            for name in made_of.keys() | base.keys()
            if _key({"": made_of.get(name)}) != _key({"": base.get(name)})
        )
        others = [name for name in names if name != spec.factor]
        if others and why is None:
            message = (
                f"differs from the baseline in {', '.join(others)}, not only in {spec.factor}; "
                "make them equal, or say why in 'also_differs'"
            )
            yield case.error(message, "arms", arm)
        elif names and not {spec.factor, PROGRAM} & {*names}:
            message = f"has the baseline's {spec.factor}; expected another one"
            yield case.error(message, "arms", arm)


def _made_of(case: Case, arm: str) -> dict[str, Value | None]:
    variables: dict[str, Value | None] = dict(case.experiment.variables_of(arm))
    program = " ".join(case.experiment.program_of(arm)) or None
    return {**variables, JOB_FACTOR: case.experiment.job_of(arm), PROGRAM: program}


def _key(made_of: dict[str, Value | None]) -> str:
    # repr tells True from 1 and 1 from 1.0, which are equal in Python and differ in a job.
    return repr(sorted(made_of.items()))


class CrossIsApart:
    """A crossed factor is nothing that an arm or the common variables set as well.

    Its levels are laid over the arm's variables, so a value set there would silently be lost.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for factors set twice, and for levels that read the same."""
        spec = case.experiment.spec
        for name, levels in spec.cross.items():
            if name == spec.factor:
                yield case.error("is the factor in which the arms differ already", "cross", name)
            if name in spec.variables:
                message = f"also set in 'variables' (to {shown(spec.variables[name])}); keep one"
                yield case.error(message, "cross", name)
            for arm, body in spec.arms.items():
                if name in body.variables and name != spec.factor:
                    message = f"is crossed (see 'cross.{name}'); remove it here or there"
                    yield case.error(message, "arms", arm, "variables", name)
            names = [level_name(level) for level in levels]
            for index, text in enumerate(names):
                if text in names[:index]:
                    yield case.error(f"level {text} stands twice", "cross", name, index)
                if not text or any(mark in text for mark in ",= \"'"):
                    message = f"level {shown(text)}: expected no blank, comma, quote or ="
                    yield case.error(message, "cross", name, index)


def _job_files(case: Case) -> Iterator[tuple[str, str | None, tuple[str | int, ...]]]:
    """(arm, job, place of the job's key) for every arm that is no program."""
    for arm, body in case.experiment.spec.arms.items():
        if case.experiment.program_of(arm):
            continue
        place: tuple[str | int, ...] = ("arms", arm, "job") if body.job else ("job",)
        yield arm, case.experiment.job_of(arm), place


def job_path(root: Path, job: str) -> Path | None:
    """The job file's path below ``root``; None where the name leads out of it."""
    parts = PurePosixPath(job)
    if parts.is_absolute() or ".." in parts.parts or not job.isprintable():
        return None
    path = root / parts
    return path if path.resolve().is_relative_to(root.resolve()) else None


class JobFileExists:
    """Every arm has a job file, named from the repository's root and found there."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Look every job file up, each once."""
        seen: set[tuple[str | int, ...]] = set()
        for arm, job, place in _job_files(case):
            if job is None:
                message = "no job file; name it in 'job', here or for all arms"
                yield case.error(message, "arms", arm)
            elif place not in seen:
                seen.add(place)
                path = job_path(case.root, job)
                if path is None or not job.endswith(JOB_SUFFIX):
                    message = f"expected a path such as jobs/x{JOB_SUFFIX}, got {shown(job)}"
                    yield case.error(message, *place)
                elif not path.is_file():
                    yield case.error(f"no file {job} below {case.root}", *place)


class ProgramCanRun:
    """An arm is a job or a program; a program makes its own load, and says only what there is.

    It runs on the measured host, as the runner's user, from the folder where the lab puts programs:
    a name, no path. A load from outside would have nothing to call.
    """

    def check(self, case: Case) -> Iterator[Finding]:
        """Look at names, placeholders and the load tools."""
        spec = case.experiment.spec
        if spec.job and spec.program:
            message = "the experiment has a 'job' too; name one here, and the other in its arms"
            yield case.error(message, "program")
        for arm, body in spec.arms.items():
            place = ("arms", arm, "program") if body.program else ("program",)
            if body.job and body.program:
                yield case.error("a 'job' stands beside it; an arm is one or the other", *place)
            elif program := case.experiment.program_of(arm):
                for message in self._wrong(case, arm, program):
                    yield case.error(message, *place)
                yield from self._unsaid(case, arm, program)

    def _wrong(self, case: Case, arm: str, program: tuple[str, ...]) -> Iterator[str]:
        spec = case.experiment.spec
        if not is_label(program[0], NAME_LIMIT):
            yield f"expected the name of a program of the lab, got {shown(program[0])}"
        names = {*case.experiment.variables_of(arm), *spec.cross, DIRECTORY, HOST_CPUS}
        for name in _placeholders(program):
            if name not in names:
                yield f"{{{name}}} is no variable of this arm{suggestion(name, sorted(names))}"
        tools = {entry.tool for entry in spec.load if entry.tool in TOOLS}
        if outside := sorted(tool for tool in tools if not TOOLS[tool].capabilities.inside):
            yield f"{', '.join(outside)} would have nothing to call; a program makes its load"
        if spec.peer:
            yield "runs on one host, and 'peer' asks for a far end"
        if spec.calls:
            yield "is in no container, whose system calls could be counted"

    def _unsaid(self, case: Case, arm: str, program: tuple[str, ...]) -> Iterator[Finding]:
        said = _placeholders(program)
        for name in case.experiment.spec.arms[arm].variables:
            # The factor may be what tells it from a job, as "bare" does.
            if name not in said and name != case.experiment.spec.factor:
                message = f"the program does not say {{{name}}}, so this would change nothing"
                yield case.error(message, "arms", arm, "variables", name)


def _placeholders(program: tuple[str, ...]) -> list[str]:
    return [name for word in program for name in PLACEHOLDER.findall(word)]


class VariablesAreDeclared:
    """Every variable that is set is declared by the job file that gets it."""

    def check(self, case: Case) -> Iterator[Finding]:
        """Scan the job files (see ``jobfile``), and look every variable up."""
        spec = case.experiment.spec
        said: set[tuple[tuple[str | int, ...], str]] = set()
        for arm, job, _ in _job_files(case):
            path = job_path(case.root, job) if job else None
            if job is None or path is None or not path.is_file():
                continue  # JobFileExists says so
            with path.open(encoding="utf-8", errors="replace") as stream:
                declared = declared_variables(stream.read(JOB_SIZE_LIMIT))
            places = [
                *(("variables", name) for name in spec.variables),
                *(("cross", name) for name in spec.cross),
                *(("arms", arm, "variables", name) for name in spec.arms[arm].variables),
            ]
            for place in places:
                if place[-1] not in declared and (place, job) not in said:
                    said.add((place, job))
                    message = f"{job} declares no such variable{suggestion(place[-1], declared)}"
                    yield case.error(message, *place)


class EngineVariablesAreLeftAlone:
    """Identity, placement, images and keys are the engine's to set; ``job`` is no variable.

    A value here would silently be lost, or, being a key, stand in every plan and block file.
    """

    ENGINE: Final = (
        "id",
        "node",
        "node_address",
        HOST_CPUS,
        "peer",
        "peer_address",
        "port",
        "tls_certificate",
        "tls_key",
        "mesh_ca",
        "database_password",
    )
    ENGINE_PREFIX: Final = "image_"

    def check(self, case: Case) -> Iterator[Finding]:
        """Look for the engine's names among all variables."""
        spec = case.experiment.spec
        places: list[tuple[str, ...]] = [("variables", name) for name in spec.variables]
        places += [("cross", name) for name in spec.cross]
        for arm, body in spec.arms.items():
            places += [("arms", arm, "variables", name) for name in body.variables]
        for place in places:
            if place[-1] in self.ENGINE or place[-1].startswith(self.ENGINE_PREFIX):
                yield case.error("is set when the job is deployed; remove it", *place)
            elif place[-1] in (JOB_FACTOR, PROGRAM):
                message = "is a word of experiments, which arms may differ in; rename the variable"
                yield case.error(message, *place)


class SocketPathFits:
    """A socket's path fits the kernel's address; else the deployment fails, or binds a cut path."""

    NAME: Final = "socket_path"

    def check(self, case: Case) -> Iterator[Finding]:
        """Measure every variable named ``socket_path`` in bytes."""
        spec = case.experiment.spec
        values: list[tuple[Value, tuple[str | int, ...]]] = []
        if self.NAME in spec.variables:
            values.append((spec.variables[self.NAME], ("variables", self.NAME)))
        for index, level in enumerate(spec.cross.get(self.NAME, ())):
            values.append((level, ("cross", self.NAME, index)))
        for arm, body in spec.arms.items():
            if self.NAME in body.variables:
                values.append((body.variables[self.NAME], ("arms", arm, "variables", self.NAME)))
        for value, place in values:
            size = len(str(value).encode())
            if size > SOCKET_PATH_LIMIT:
                message = (
                    f"{size} bytes; a Unix socket's path has at most {SOCKET_PATH_LIMIT}; "
                    "shorten it"
                )
                yield case.error(message, *place)
