"""The jobs of one group: what holds for each of them, and that its var-file is enough."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import nomadjob
import pytest
from nomadjob import ROOT

# Job, and what must be said.
JOBS: Final = {
    "chain": {"path": "mesh", "services": 4},
    "ipc": {"mechanism": "pipe"},
    "monolith": {"shape": "services", "path": "unix"},
    "peers": {"benchmark": "redis-unix"},
    "serialisation": {"format": "json"},
}
# What their var-files say, beside the one image that is called as the job is, and the node.
FILES: Final = {
    "chain": {
        **nomadjob.images("chain", "sidecar"), "node_address": "198.18.0.12", "mesh_ca": "a CA",
    },
    "monolith": {
        **nomadjob.images("chain", "database", "proxy"), "database_password": "its password",
    },
}  # fmt: skip
# Their programs keep files of their own in places that the image has.
WRITING: Final = ("database", "balancer")
every_job = pytest.mark.parametrize("name", JOBS)


def path(name: str) -> Path:
    return ROOT / "jobs" / f"{name}.nomad.hcl"


def var_file(name: str) -> dict[str, str]:
    return {"node": "lab-2", **FILES.get(name, nomadjob.images(name))}


def render(name: str, **variables: object) -> dict[str, Any]:
    return nomadjob.render(path(name), {**var_file(name), **JOBS[name], **variables})


def written(name: str) -> set[str]:
    """The variables that the role writes into a job's var-file."""
    tasks = (ROOT / "roles/workload_images/tasks/main.yml").read_text().split("\n- name: ")
    own = [one for one in tasks if f"}}}}/{name}.hcl" in one]
    if not own:
        (own,) = ([one] for one in tasks if "/{{ item }}.hcl" in one)
        assert re.search(rf"\n  loop: \[.*\b{name}\b.*\]", own[0])
        return {f"image_{name}", "node"}
    (task,) = own
    names = re.findall(r"for name in \[(.*?)\]", task)
    images = {f"image_{one}" for found in names for one in re.findall(r"'(\w+)'", found)}
    return images | set(re.findall(r"^      (\w+) = ", task, re.MULTILINE))


@every_job
def test_its_var_file_is_all_it_needs_besides(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.hcl"
    given = var_file(name)
    assert written(name) == set(given)
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in given.items()))
    said = [f"-var={key}={value}" for key, value in JOBS[name].items()]
    done = nomadjob.run_nomad("job", "validate", f"-var-file={file}", *said, path(name))
    assert done.returncode == 0, done.stdout


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
        writes = task["Name"].startswith(WRITING)
        assert task["Config"].get("readonly_rootfs", False) is not writes


@every_job
def test_every_variable_is_described(name: str) -> None:
    for variable, body in nomadjob.declarations(path(name)):
        assert re.search(r"^  description = \"[A-Z].*\.\"$", body, re.MULTILINE), variable
        assert re.search(r"^  type +=", body, re.MULTILINE), variable
