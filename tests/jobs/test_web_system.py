"""``jobs/web.nomad.hcl`` as a system job: one allocation a host, otherwise the same job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import webjob
from webjob import IMAGES, JOB, ROOT

SYSTEM_FILES = sorted((ROOT / "jobs" / "web-system").glob("*.hcl"))
# What a system job has not: a node of its own, and another host to go to.
REMOVED = {"Constraints", "ReschedulePolicy", "Disconnect"}


def differing(one: Any, other: Any, at: str = "") -> set[str]:
    """Paths, joined by dots, at which two rendered jobs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return {p for key in keys for p in differing(one.get(key), other.get(key), f"{at}.{key}")}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return {p for a, b in zip(one, other, strict=True) for p in differing(a, b, at)}
    return set() if one == other else {at}


def test_there_is_a_var_file_for_each_end_of_the_question() -> None:
    assert [path.stem for path in SYSTEM_FILES] == ["sharedvolume", "tcp-loopback"]


@pytest.mark.parametrize("file", SYSTEM_FILES, ids=lambda path: path.stem)
def test_var_file_validates_and_names_its_path(file: Path) -> None:
    given = [f"-var-file={file}", *webjob.options(dict(IMAGES))]
    result = webjob.run_nomad("job", "validate", *given, JOB)
    assert result.returncode == 0, result.stdout
    assert dict(re.findall(r'^(\w+)\s*= "(.*)"$', file.read_text(), re.MULTILINE)) == {
        "id": "web-system",
        "type": "system",
        "path": file.stem,
    }


@pytest.mark.parametrize("path", webjob.PATHS)
def test_the_two_types_differ_only_in_what_nomad_asks_for(path: str) -> None:
    service, system = webjob.render(path=path), webjob.render(path=path, type="system")
    assert differing(service, system) == {
        ".Type",
        ".Constraints",
        ".TaskGroups.ReschedulePolicy",
        ".TaskGroups.Disconnect",
    }
    assert (service["Type"], system["Type"]) == ("service", "system")
    assert all(system.get(key, webjob.group(system).get(key)) is None for key in REMOVED)


def test_an_update_rolls_one_host_at_a_time() -> None:
    update = webjob.render(path="sharedvolume", type="system")["Update"]
    assert (update["MaxParallel"], update["HealthCheck"]) == (1, "task_states")


@pytest.mark.parametrize("value", ["batch", "sysbatch", "System", ""])
def test_another_type_is_refused(value: str) -> None:
    result = webjob.attempt(**{**IMAGES, "path": "sharedvolume", "type": value})
    assert result.returncode == 1
    assert "The type must be service or system." in result.stdout
