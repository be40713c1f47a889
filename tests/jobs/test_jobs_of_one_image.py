"""The jobs whose containers are all of one image: what holds for each of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

# Job, and what must be said.
JOBS: Final = {
    "ipc": {"mechanism": "pipe"},
    "peers": {"benchmark": "redis-unix"},
    "serialisation": {"format": "json"},
}
every_job = pytest.mark.parametrize("name", JOBS)


def path(name: str) -> Path:
    return ROOT / "jobs" / f"{name}.nomad.hcl"


def render(name: str, **variables: object) -> dict[str, Any]:
    return nomadjob.render(path(name), {**nomadjob.images(name), **JOBS[name], **variables})


@every_job
def test_its_var_file_is_all_it_needs_besides(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.hcl"
    given = {**nomadjob.images(name), "node": "lab-2"}
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in given.items()))
    said = [f"-var={key}={value}" for key, value in JOBS[name].items()]
    done = nomadjob.run_nomad("job", "validate", f"-var-file={file}", *said, path(name))
    assert done.returncode == 0, done.stdout
    tasks = (ROOT / "roles/workload_images/tasks/main.yml").read_text()
    (loop,) = re.findall(r"/\{\{ item \}\}\.hcl.*?\n  loop: \[(.*?)\]", tasks, re.DOTALL)
    assert name in loop.split(", ")


@every_job
def test_it_never_moves_or_comes_back(name: str) -> None:
    job = render(name, node="lab-7")
    (group,) = job["TaskGroups"]
    assert (group["RestartPolicy"]["Attempts"], group["ReschedulePolicy"]["Attempts"]) == (0, 0)
    (pinned,) = [*(job["Constraints"] or []), *(group["Constraints"] or [])]
    assert pinned == {"LTarget": "${node.unique.name}", "RTarget": "lab-7", "Operand": "="}


@every_job
def test_its_containers_may_do_nothing_else(name: str) -> None:
    (group,) = render(name)["TaskGroups"]
    for task in group["Tasks"]:
        assert task["Config"]["cap_drop"] == ["all"]
        assert task["Config"]["readonly_rootfs"] is True


@every_job
def test_every_variable_is_described(name: str) -> None:
    for variable, body in nomadjob.declarations(path(name)):
        assert re.search(r"^  description = \"[A-Z].*\.\"$", body, re.MULTILINE), variable
        assert re.search(r"^  type +=", body, re.MULTILINE), variable
