"""System calls over the hosts of a deployment: by task, and what happens where one refuses."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collector.campaign import calls
from collector.campaign.errors import BlockFailed

PROVE = Path(__file__).parents[2] / "roles" / "runner" / "files" / "prove"
BOUND = {
    "proxy": {"host": "lab-2", "id": "aa"},
    "app-0": {"host": "lab-2", "id": "bb"},
    "server": {"host": "lab-3", "id": "cc"},
}


class Observer:
    """Counts ``read`` as often as its name is long; may not trace if it is ``shut``."""

    def __init__(self, shut: bool = False) -> None:
        self.traced: list[str] = []
        self._shut = shut

    def ask(self, do: str, containers: list[str] | None = None) -> dict[str, Any]:
        if do == "trace":
            if self._shut:
                raise BlockFailed("lab-3: strace: not permitted")
            self.traced = containers or []
            return {}
        if not self.traced:
            raise BlockFailed("lab-3: nothing is traced")
        counted, self.traced = {one: {"read": ord(one[0])} for one in self.traced}, []
        return {"calls": counted}


def test_calls_are_by_task_on_every_host() -> None:
    hosts: Any = {"lab-2": Observer(), "lab-3": Observer()}
    assert calls.begin(BOUND, hosts) == {}
    assert hosts["lab-2"].traced == ["aa", "bb"]
    assert calls.end(BOUND, hosts) == {
        "calls": {"proxy": {"read": 97}, "app-0": {"read": 98}, "server": {"read": 99}}
    }


def test_a_host_that_refuses_leaves_no_tracer_on_the_other() -> None:
    hosts: Any = {"lab-2": Observer(), "lab-3": Observer(shut=True)}
    assert calls.begin(BOUND, hosts) == {"error": "lab-3: strace: not permitted"}
    assert hosts["lab-2"].traced == []


@pytest.fixture(scope="module")
def prove() -> dict[str, Any]:
    return runpy.run_path(str(PROVE))


def test_a_process_and_all_that_it_started(prove: dict[str, Any]) -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline()
        found = prove["below"](os.getpid())
        assert (found[0], child.pid in found) == (os.getpid(), True)
        (grandchild,) = set(prove["below"](child.pid)) - {child.pid}
        assert grandchild in found
    finally:
        for one in reversed(prove["below"](child.pid)):
            os.kill(one, 9)
        child.communicate()


def test_a_tracers_table_is_read_without_its_total(prove: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(
        "    calls syscall\n--------- ----------------\n       21 futex\n        4 poll\n"
        "--------- ----------------\n       25 total\n"
    )
    assert prove["counted"](str(table)) == {"futex": 21, "poll": 4}
    assert prove["counted"](str(tmp_path / "none")) == {}


@pytest.mark.parametrize("arguments", [["calls"], ["calls", *["a"] * 17], ["calls", "../x"]])
def test_what_is_no_container_is_refused(arguments: list[str]) -> None:
    argv = [sys.executable, "-I", PROVE, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
