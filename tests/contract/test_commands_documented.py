"""docs/commands.md names every command, argument, option and exit code, and its examples parse."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from analysis.__main__ import app as analysis
from collector.cli import app as collector
from collector.parse.command import main as parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
EXAMPLES = re.findall(r"^```sh\npython -m (.+)\n```$", PAGE, re.MULTILINE)


class Command(NamedTuple):
    name: str
    arguments: list[str]
    options: set[str]


def described(name: str, command: Any) -> Command:
    given = [one.name for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    names = {name for one in options for name in (*one.opts, *one.secondary_opts)}
    return Command(name, given, names - {"--help"})


def parse_command() -> Command:
    """``parse`` has no typer: its own help is read."""
    said = subprocess.run(
        [sys.executable, "-m", "collector", "parse", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    options = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", said)) - {"-h", "--help"}
    return Command("collector parse", ["file"], options)


def commands() -> list[Command]:
    found = []
    for program, app in (("collector", collector), ("analysis", analysis)):
        group: Any = typer.main.get_command(app)
        found += [described(f"{program} {name}", one) for name, one in group.commands.items()]
    return [*found, parse_command()]


COMMANDS = commands()
every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def heading(command: Command) -> str:
    return " ".join([command.name, *(name.upper() for name in command.arguments)])


@every_command
def test_command_has_a_section_with_one_example(command: Command) -> None:
    assert heading(command) in SECTIONS
    program, _, name = command.name.partition(" ")
    assert SECTIONS[heading(command)].count(f"```sh\npython -m {program} {name}") == 1


@every_command
def test_options_are_those_of_the_command(command: Command) -> None:
    section = SECTIONS[heading(command)]
    rows = re.findall(r"^\| (`-.*?) \| (.+) \|$", section, re.MULTILINE)
    named = {name for cell, _ in rows for name in re.findall(r"`(-[^`]+)`", cell)}
    assert named == command.options


def test_nothing_else_is_documented() -> None:
    assert SECTIONS.keys() - {"Exit codes"} == {heading(command) for command in COMMANDS}


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_uses_what_there_is(example: str) -> None:
    words = shlex.split(example)
    (command,) = [one for one in COMMANDS if one.name == " ".join(words[:2])]
    assert {word for word in words[2:] if word.startswith("-")} <= command.options


def test_exit_codes_are_those_of_the_contract() -> None:
    documented = re.findall(r"^\| (\d+) \|", SECTIONS["Exit codes"], re.MULTILINE)
    contract = (ROOT / "docs" / "contracts.md").read_text().partition("## Exit codes")[2]
    assert documented == re.findall(r"(?:^|; )(\d+) ", contract, re.MULTILINE)
    assert documented == ["0", "1", "2", "3", "130"]


def run(app: typer.Typer, *arguments: str) -> int:
    return CliRunner().invoke(app, list(arguments)).exit_code


@every_command
def test_wrong_usage_ends_with_2(command: Command) -> None:
    program, name = command.name.split()
    if name == "parse":
        assert parse(["--no-such-option"]) == 2
    else:
        app = collector if program == "collector" else analysis
        assert run(app, name, "--no-such-option") == 2


@every_command
def test_missing_argument_ends_with_2(command: Command) -> None:
    program, name = command.name.split()
    if command.arguments and name != "parse":
        assert run(collector if program == "collector" else analysis, name) == 2


def test_nothing_collected_ends_with_3(tmp_path: Path) -> None:
    state = str(tmp_path)
    assert run(collector, "show", "9f86", "--state", state) == 3
    assert run(analysis, "report", "--state", state, "--experiment", "web") == 3


def test_unknown_experiment_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert run(collector, "plan", "no-such-experiment") == 2


def test_parse_ends_with_1_and_2(tmp_path: Path) -> None:
    (tmp_path / "foreign.txt").write_text("no load tool wrote this\n")
    assert parse([str(tmp_path / "foreign.txt")]) == 1
    assert parse([str(tmp_path / "missing.txt")]) == 2
