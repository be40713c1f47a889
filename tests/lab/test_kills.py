"""SIGKILL of the controller in every stage, then the same command again (long: minutes each)."""

from __future__ import annotations

import os
import re
import signal

import pytest
from conftest import Lab, machine, wait_for

pytestmark = pytest.mark.long

MOMENTS = {
    "hosts": r"TASK \[virtual_hosts : Host \| Start it\]",
    "cluster": r"TASK \[nomad : Server \| Bootstrap",
    "workloads": r"pushed \w+, 2 of \d+",
    "measure": r"block 1 of 1: .*requests/s",
    "collect": r"TASK \[Turn block files into the dataset\]",
    "analyse": r"TASK \[Make the report\]",
}


@pytest.mark.parametrize("stage", MOMENTS)
def test_the_same_command_goes_on_after_a_kill(stage: str) -> None:
    lab = Lab()
    lab.playbook("--tags", "teardown")
    lab.forget()
    try:
        process = lab.popen("ansible-playbook", "lab.yml", "-e", "blocks=1")
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(MOMENTS[stage], line):
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        done = lab.playbook("-e", "blocks=1", timeout=1200)
        assert "sharedvolume vs tcp-loopback" in done.stdout
        assert len(lab.campaigns("web")) >= 1
        newest = lab.campaigns("web")[-1]
        assert sorted(path.name for path in newest.glob("blocks/*.part")) == []
        wait_for(lambda: not [job for job in lab.nomad_jobs() if job.startswith("sl-")], 30, "jobs")
        again = lab.playbook("--tags", "hosts,cluster,workloads")
        assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}
    finally:
        lab.playbook("--tags", "teardown")
    assert machine() == {"containers": [], "volumes": [], "networks": []}
    assert not (lab.state / "secrets").exists()
