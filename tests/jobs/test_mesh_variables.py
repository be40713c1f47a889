"""Variables of ``jobs/mesh.nomad.hcl``: described, typed, and refused by name when wrong."""

from __future__ import annotations

import re
from pathlib import Path

import meshjob
import nomadjob
import pytest
from meshjob import GIVEN, JOB, KEY, PATHS, TLS, VAR_FILES, WORKLOADS

VARIABLES = nomadjob.declarations(JOB)
GOOD: dict[str, object] = {**GIVEN, "workload": "web", "path": "tcp"}


def refusal(*files: Path, **variables: object) -> str:
    result = meshjob.attempt(*files, **variables)
    assert result.returncode == 1, result.stdout
    return result.stdout


def test_every_variable_is_found_and_used() -> None:
    names = {name for name, _ in VARIABLES}
    assert {"workload", "path", "peer", "port", "mesh_ca", "direction"} <= names
    assert set(re.findall(r"\bvar\.(\w+)", JOB.read_text())) == names


def test_no_variable_is_used_by_its_own_validation_alone() -> None:
    text = JOB.read_text()
    body = text[text.index("\nlocals {") :]
    assert set(re.findall(r"\bvar\.(\w+)", body)) == {name for name, _ in VARIABLES}


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


@pytest.mark.parametrize("value", ["mesh", "TCP", "mesh-unix-", ""])
def test_wrong_path_is_refused_with_those_that_there_are(value: str) -> None:
    said = refusal(**{**GOOD, "path": value})
    assert "The path must be" in said
    assert all(path in said for path in PATHS)


@pytest.mark.parametrize("value", ["Web", "mariadb", ""])
def test_wrong_workload_is_refused_with_those_that_there_are(value: str) -> None:
    said = refusal(**{**GOOD, "workload": value})
    assert "The workload must be web, database or stream." in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        # The engine's ports begin at 12000; Nomad hands out 20000 and up.
        ("port", 1023, "The port must be a whole number, 1024 to 19990."),
        ("port", 19991, "The port must be a whole number, 1024 to 19990."),
        ("port", 24000, "The port must be a whole number, 1024 to 19990."),
        ("port", 12000.5, "The port must be a whole number, 1024 to 19990."),
        ("sidecar_workers", 0, "The number of worker threads must be a whole number, 1 to 64."),
        ("sidecar_workers", 65, "The number of worker threads must be a whole number, 1 to 64."),
        ("sidecar_workers", 1.5, "The number of worker threads must be a whole number, 1 to 64."),
        ("message_bytes", 15, "The bytes of a message must be a whole number, 16 to 16777216."),
        ("message_bytes", 16777217, "The bytes of a message must be a whole number"),
        ("message_bytes", 64.5, "The bytes of a message must be a whole number"),
        ("query", "oltp_read_write", "The query must be oltp_point_select or oltp_read_only."),
        ("direction", "forth", "The direction must be to, from or both."),
    ],
)
def test_value_out_of_bounds_is_refused(name: str, value: object, said: str) -> None:
    assert said in refusal(**GOOD, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("sidecar_workers", "many"),
        ("message_bytes", "1 KiB"),
        ("keepalive", "perhaps"),
        ("cpu", "true"),
        ("memory_mb", "256MB"),
    ],
)
def test_value_of_another_type_is_refused_by_name(name: str, value: str) -> None:
    assert name in refusal(**GOOD, **{name: value})


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "database"])
def test_tls_of_a_workload_that_has_none_is_refused(workload: str) -> None:
    said = refusal(**{**GOOD, **TLS, "workload": workload, "path": "tcp-tls"})
    assert 'cannot parse "The path tcp-tls is for the workload database."' in said
    assert KEY not in said


@pytest.mark.parametrize("missing", sorted(TLS))
def test_tls_without_certificate_or_key_is_refused(missing: str) -> None:
    given = {name: value for name, value in TLS.items() if name != missing}
    said = refusal(**{**GOOD, **given, "workload": "database", "path": "tcp-tls"})
    assert 'cannot parse "The path tcp-tls needs both tls_certificate and tls_key."' in said


def test_unknown_variable_is_refused_by_name() -> None:
    assert '"pth" variable' in refusal(**GOOD, pth="tcp")


def test_var_file_with_unknown_variable_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "wrong.hcl"
    file.write_text('workload = "web"\npath = "tcp"\nsidecar_worker = 2\n')
    assert "sidecar_worker" in refusal(file, **GIVEN)


@pytest.mark.parametrize("file", VAR_FILES, ids=lambda path: path.stem)
def test_var_file_sets_what_its_name_says(file: Path) -> None:
    assert nomadjob.assigned(file) == ["workload", "path"]
    said = dict(re.findall(r'^(\w+) *= "(\S+)"$', file.read_text(), re.MULTILINE))
    assert f"{said['workload']}-{said['path']}" == file.stem
