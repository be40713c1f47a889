"""The mesh by hand, as docs/mesh.md tells it: its commands are executed as they stand there.

A block ``sh on=PLACES`` is executed in each place in turn: ``controller`` is the shell that
``make shell`` opens, the others are hosts, as root. ``first=yes``: what later blocks of the
controller's shell need. ``exit=N``: the expected exit code. ``within=N``: repeated until it does
what it should, for at most N seconds. ``last=yes``: executed in the end whatever happens. A block
``text`` is what the one before it prints, blanks counted once; ``...`` stands for anything.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from conftest import LAB, ROOT, Lab

PAGE = ROOT / "docs" / "mesh.md"
LIMIT_S = 60


@dataclass(frozen=True)
class Step:
    """One block of the page, in one place."""

    place: str
    text: str
    expected: str
    exit_code: int
    within_s: float
    first: bool
    last: bool


def steps() -> Iterator[Step]:
    found = re.findall(r"^```(\w*)(.*)\n((?:.*\n)*?)^```$", PAGE.read_text(), re.MULTILINE)
    for (language, info, text), following in zip(found, [*found[1:], ("", "", "")], strict=True):
        options = dict(re.findall(r"(\w+)=(\S+)", info))
        if language != "sh" or "on" not in options:
            continue
        for place in options["on"].split(","):
            yield Step(
                place=place,
                text=text,
                expected=following[2] if following[0] == "text" else "",
                exit_code=int(options.get("exit", 0)),
                within_s=float(options.get("within", 0)),
                first="first" in options,
                last="last" in options,
            )


def execute(lab: Lab, step: Step, before: str) -> subprocess.CompletedProcess[str]:
    """Run one block in a shell of its own, which ends at the first failure."""
    if step.place == "controller":
        argv = ["bash", "-e", "-o", "pipefail", "-c", before + step.text]
    else:
        argv = ["podman", "exec", f"{LAB}-{step.place}", "bash", "-e", "-c", step.text]
    return subprocess.run(
        argv, cwd=ROOT, env=lab.client_environment(), text=True, timeout=LIMIT_S, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def as_the_page_says(step: Step, done: subprocess.CompletedProcess[str]) -> bool:
    pieces = [re.escape(" ".join(part.split())) for part in step.expected.split("...")]
    pattern = r"\s?.*?\s?".join(pieces)
    said = " ".join(done.stdout.split())
    return done.returncode == step.exit_code and re.search(pattern, said) is not None


def run(lab: Lab, step: Step, before: str) -> bool:
    """Run one block as often as it may be; what it said is shown when the test fails."""
    until = time.monotonic() + step.within_s
    while True:
        began = time.monotonic()
        done = execute(lab, step, before)
        good = as_the_page_says(step, done)
        if good or time.monotonic() > until:
            print(f"== {step.place}, {time.monotonic() - began:.1f} s\n{step.text}{done.stdout}")
            return good
        time.sleep(0.3)


def test_page_has_commands_for_every_place() -> None:
    found = list(steps())
    assert {step.place for step in found} == {"controller", "lab-2", "lab-3"}
    assert any(step.first for step in found)
    assert any(step.last for step in found)
    assert sum(bool(step.expected) for step in found) >= 4


@pytest.fixture
def taken_away(lab: Lab) -> Iterator[None]:
    """Runs the page's own clean-up in the end, and looks whether it was enough."""
    yield
    before = "".join(step.text for step in steps() if step.first)
    failed = [step for step in steps() if step.last and not run(lab, step, before)]
    assert failed == []
    for host in ("lab-2", "lab-3"):
        assert "hand-" not in lab.on(host, "docker", "ps", "--all").stdout
        assert "hand" not in lab.on(host, "ls", "/etc/consul.d", "/run").stdout


@pytest.mark.usefixtures("taken_away")
def test_the_page_works_as_it_stands(lab: Lab) -> None:
    before = "".join(step.text for step in steps() if step.first)
    for step in steps():
        if not (step.first or step.last):
            assert run(lab, step, before), f"{step.place}:\n{step.text}"
