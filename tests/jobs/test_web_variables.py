"""Variables of ``jobs/web.nomad.hcl``: described, typed, and refused by name when wrong."""

from __future__ import annotations

import re
from pathlib import Path

import nomadjob
import pytest
import webjob
from webjob import GROWING, IMAGES, JOB, NULL, PATHS, VAR_FILES

VARIABLES = nomadjob.declarations(JOB)
GOOD: dict[str, object] = {**IMAGES, "path": "tcp-loopback"}


def refusal(*files: Path, **variables: object) -> str:
    result = webjob.attempt(*files, **variables)
    assert result.returncode == 1, result.stdout
    return result.stdout


def test_the_scan_finds_every_variable() -> None:
    names = {name for name, _ in VARIABLES}
    assert {"path", "node", "keepalive", "tls", "workers", "instances", "response_bytes"} <= names
    assert set(re.findall(r"\bvar\.(\w+)", JOB.read_text())) == names


@pytest.mark.parametrize(("name", "body"), VARIABLES, ids=[name for name, _ in VARIABLES])
def test_variable_is_described_and_typed(name: str, body: str) -> None:
    assert re.search(r'^  description = "[A-Z][^"]{10,}\."$', body, re.MULTILINE), name
    assert re.search(r"^  type        = (string|number|bool)$", body, re.MULTILINE), name


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_missing_variable_is_refused_by_name(missing: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != missing}
    assert f'Unset variable "{missing}"' in refusal(**given)


def test_nothing_given_names_every_missing_variable_at_once() -> None:
    assert set(re.findall(r'Unset variable "(\w+)"', refusal())) == set(GOOD)


@pytest.mark.parametrize("value", ["tcp", "TCP-loopback", "sharedvolume-", ""])
def test_wrong_path_is_refused_with_those_that_there_are(value: str) -> None:
    said = refusal(**{**GOOD, "path": value})
    assert "The path must be" in said
    assert all(path in said for path in (*PATHS, GROWING, NULL))


@pytest.mark.parametrize("value", [0, 3, 5, -1, 1.5])
def test_wrong_number_of_instances_is_refused(value: float) -> None:
    assert "The number of instances must be 1, 2 or 4." in refusal(**GOOD, instances=value)


@pytest.mark.parametrize("value", [0, -1, 65])
def test_wrong_number_of_workers_is_refused(value: int) -> None:
    assert "The number of workers must be 1 to 64." in refusal(**GOOD, workers=value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("work", "disk", "The work must be none, cpu, memory or files."),
        ("instances_max", 0, "The largest number of instances must be 1 to 16."),
        ("instances_max", 17, "The largest number of instances must be 1 to 16."),
    ],
)
def test_wrong_work_and_growth_are_refused(name: str, value: object, said: str) -> None:
    assert said in refusal(**GOOD, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "many"),
        ("instances", "[2]"),
        ("response_bytes", "1 KiB"),
        ("keepalive", "perhaps"),
        ("tls", "1"),
        ("cpu", "true"),
        ("memory_mb", "256MB"),
    ],
)
def test_value_of_another_type_is_refused_by_name(name: str, value: str) -> None:
    assert name in refusal(**GOOD, **{name: value})


def test_unknown_variable_is_refused_by_name() -> None:
    assert '"pth" variable' in refusal(**GOOD, pth="tcp-loopback")


def test_var_file_with_unknown_variable_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "wrong.hcl"
    file.write_text('path = "tcp-loopback"\nkeep_alive = true\n')
    assert "keep_alive" in refusal(file, **IMAGES)


def test_one_var_file_a_path() -> None:
    assert sorted(path.stem for path in VAR_FILES) == sorted([*PATHS, GROWING, NULL])


@pytest.mark.parametrize("file", VAR_FILES, ids=lambda path: path.stem)
def test_var_file_sets_declared_variables_only(file: Path) -> None:
    names = nomadjob.assigned(file)
    assert names
    assert set(names) <= {name for name, _ in VARIABLES}
