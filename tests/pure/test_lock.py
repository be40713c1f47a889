"""The lab's lock: who holds it, and how a dead holder is recognised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector import lock

ROOT = Path(__file__).resolve().parents[2]


def check(state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "collector" / "lock.py"), "check", str(state)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_stranger_is_refused_and_told_who_holds(tmp_path: Path) -> None:
    holder = subprocess.Popen(["sleep", "600"])
    try:
        held = {
            "pid": holder.pid,
            "start": lock._start_time(holder.pid),
            "boot": lock.BOOT_ID.read_text().strip(),
            "command": "ansible-playbook lab.yml",
        }
        (tmp_path / "lock").write_text(json.dumps(held))
        refused = check(tmp_path)
        assert refused.returncode == 3
        assert f"process {holder.pid} (ansible-playbook lab.yml)" in refused.stderr
        with pytest.raises(lock.LockHeldError):
            lock.acquire(tmp_path)
    finally:
        holder.kill()
        holder.wait()
    assert check(tmp_path).returncode == 0, "a dead holder holds nothing"
    lock.acquire(tmp_path)
    held_now = lock.holder(tmp_path)
    assert held_now is not None
    assert held_now["pid"] == os.getpid()


@pytest.mark.parametrize(
    "change", [{"start": "1"}, {"boot": "another"}], ids=["pid reused", "rebooted"]
)
def test_a_stale_lock_is_taken(tmp_path: Path, change: dict[str, str]) -> None:
    lock.acquire(tmp_path)
    held = json.loads((tmp_path / "lock").read_text())
    (tmp_path / "lock").write_text(json.dumps(held | change))
    assert lock.holder(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_torn_lock_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    assert lock.holder(tmp_path) is None
    lock.acquire(tmp_path)


def test_the_holders_own_processes_pass(tmp_path: Path) -> None:
    lock.acquire(tmp_path)
    assert check(tmp_path).returncode == 0
