"""The hosts stage on machines, without one: ssh is a script that answers, or says what ssh says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SSH = r"""#!/bin/sh
for last; do :; done
case "$*" in
  *198.51.100.5[0-9]*) echo 'ssh: connect to host port 22: Connection timed out' >&2; exit 255 ;;
  *198.51.100.61*) echo 'root@host: Permission denied (publickey).' >&2; exit 255 ;;
  *198.51.100.62*) echo '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2
    echo 'Host key verification failed.' >&2; exit 255 ;;
  *198.51.100.63*) echo 'Host key verification failed.' >&2; exit 255 ;;
  *198.51.100.64*) PATH=/nowhere exec /bin/sh -c "$last" ;;
  *198.51.100.65*) LOOK=$UNFIT ;;
  *198.51.100.66*) LOOK='no JSON at all' ;;
  *198.51.100.67*)
    case "$last" in
      *'command -v'* | *'date +'*) ;;
      *) echo 'Connection reset' >&2; exit 255 ;;
    esac ;;
esac
PATH=$FAKES:$PATH exec /bin/sh -c "$last"
"""
PYTHON = '#!/bin/sh\ncat > /dev/null\nprintf "%s\\n" "$LOOK"\n'
SOUND = {
    "errors": [],
    "warnings": [["the governor of CPU 1 is {{ 7 * 6 }}", "cpupower ..."]],
    "release": "Debian GNU/Linux 13 (trixie)",
    "untested": False,
}
UNFIT = SOUND | {
    "errors": [
        ["2.0 GiB free in /var/lib, needed 8", "free some"],
        ["the architecture is riscv64", "another machine"],
    ]
}
PROGRAMS = {"ssh": SSH, "python3": PYTHON, "systemctl": "#!/bin/sh\necho running\n"}


class Stage:
    """A folder with programs that stand for machines, an inventory, and the lab's state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in PROGRAMS.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def run(self, **groups: list[int]) -> tuple[int, str]:
        """Run the stage on hosts by the last number of their address; exit code and output."""
        (self.folder / "state").mkdir(exist_ok=True)
        names = {number: f"bench-{number}" for hosts in groups.values() for number in hosts}
        inventory = {
            "all": {
                "vars": {
                    "ansible_user": "root",
                    "ansible_python_interpreter": sys.executable,
                    "ansible_ssh_executable": str(self.folder / "bin/ssh"),
                    "lab_id": "bench",
                    "lab_state": str(self.folder / "state"),
                    "lab_kind": "bare-metal",
                    "lab_emulated": False,
                    "lab_arch": "x86_64",
                    "lab_cpus": [0],
                },
                "hosts": {
                    name: {"ansible_host": f"198.51.100.{number}"} for number, name in names.items()
                },
                "children": {
                    group: {"hosts": {names[number]: {} for number in numbers}}
                    for group, numbers in groups.items()
                },
            }
        }
        path = self.folder / "hosts.yml"
        path.write_text(yaml.safe_dump(inventory))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "playbooks/hosts.yml", "-i", path],
            cwd=ROOT,
            env={
                **os.environ,
                "FAKES": str(self.folder / "bin"),
                "LOOK": json.dumps(SOUND),
                "UNFIT": json.dumps(UNFIT),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_SSH_RETRIES": "0",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    def record(self) -> dict[str, Any]:
        read = json.loads((self.folder / "state/preflight.json").read_text())
        assert isinstance(read, dict)
        return read


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_ten_of_twenty_do_not_answer_and_the_others_go_on(stage: Stage) -> None:
    clients = [*range(12, 20), *range(50, 56), 61, 62, 63, 64]
    code, said = stage.run(servers=[11], load=[11, 20], clients=clients)
    assert code == 0, said
    assert "10 of 20 hosts answer." in said
    for number, why in [
        (50, "does not answer"),
        (61, "refuses the ssh key"),
        (62, "shows another ssh host key than known_hosts has"),
        (63, "has an ssh host key that is not in known_hosts"),
        (64, "has no python3"),
    ]:
        assert f"bench-{number} (198.51.100.{number}) {why}" in said
    recap = said.partition("PLAY RECAP")[2]
    assert "bench-12 " in recap
    assert "failed=0" in recap
    seen = stage.record()["hosts"]
    assert {name for name, one in seen.items() if one["missing"]} == {
        f"bench-{number}" for number in (*range(50, 56), 61, 62, 63, 64)
    }
    # What a machine says stays as it is: no template of its own is ever evaluated.
    assert seen["bench-12"]["warnings"] == SOUND["warnings"]


def test_what_is_left_must_make_a_lab(stage: Stage) -> None:
    code, said = stage.run(servers=[51], load=[51], clients=[12])
    assert code == 2
    assert "Nothing was changed. Without the missing hosts there is none in servers, load:" in said
    assert "bench-51 (198.51.100.51) does not answer." in said


def test_everything_that_is_wrong_is_said_at_once(stage: Stage) -> None:
    code, said = stage.run(servers=[11], load=[11], clients=[12, 65])
    assert code == 2
    assert "Nothing was changed. To be mended, or taken out of the inventory:" in said
    lines = [line.strip() for line in said.splitlines()]
    assert "bench-65: 2.0 GiB free in /var/lib, needed 8 (free some)" in lines
    assert "bench-65: the architecture is riscv64 (another machine)" in lines


def test_a_machine_that_cannot_be_looked_at_is_told_and_nothing_is_changed(stage: Stage) -> None:
    """Unheard of, it would be left out, and the others changed without it."""
    code, said = stage.run(servers=[11], load=[11], clients=[12, 66, 67])
    assert code == 2
    assert "Nothing was changed. To be mended, or taken out of the inventory:" in said
    for number in (66, 67):
        assert f"bench-{number}: cannot be looked at as root: " in said
        assert stage.record()["hosts"][f"bench-{number}"]["missing"] is None


def test_a_second_inventory_is_refused_before_anything_is_taken(tmp_path: Path) -> None:
    """The engine would know the hosts of the first alone."""
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"all: {{vars: {{lab_state: {tmp_path}/state}}}}")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), "playbooks/lock.yml",
            "-i", tmp_path / "first", "-i", tmp_path / "second",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert "one inventory, and these are 2" in " ".join(done.stdout.split())
    assert not (tmp_path / "state").exists()


def test_an_experiment_that_cannot_be_run_is_refused_before_anything_is_made() -> None:
    """Two hosts are too few for a topology that spans two beside its load generator."""
    done = subprocess.run(
        ["ansible-playbook", "lab.yml", "-e", "experiment=mesh-web"],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "SOCKLAB_ID": f"refused-{os.getpid()}", "SOCKLAB_HOSTS": "2"},
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(r"experiments/mesh-web\.yml:\d+:1: peer: ", done.stderr + done.stdout)
    assert "PLAY [Virtual hosts]" not in done.stdout
    assert not (ROOT / ".lab" / f"refused-{os.getpid()}").exists()
