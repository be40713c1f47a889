"""An arm that grows while it is measured: what is asked for, what is timed, how it ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from collector.campaign import scaling
from collector.campaign.errors import BlockFailed
from collector.campaign.scaling import Growth, Scaling, growth_of

GROWTH = Growth("application", 1, 3)


def job(*groups: tuple[str, int, dict[str, Any] | None]) -> dict[str, Any]:
    return {"TaskGroups": [{"Name": name, "Count": n, "Scaling": most} for name, n, most in groups]}


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (job(("web", 1, None)), None),
        (job(("web", 1, None), ("application", 1, {"Min": 1, "Max": 1})), None),
        (job(("web", 1, None), ("application", 1, {"Min": 1, "Max": 3})), GROWTH),
    ],
)
def test_the_job_says_what_grows(made: dict[str, Any], found: Growth | None) -> None:
    assert growth_of(made) == found


class Cluster:
    """Runs what was asked for at the third look; ``refuses`` to scale; ``lacks`` what it needs."""

    def __init__(self, looks: int = 3, refuses: bool = False, lacks: str = "") -> None:
        self.lacks = lacks
        self.scaled: list[tuple[str, str, int]] = []
        self._looks = looks
        self._refuses = refuses

    def scale(self, identity: str, group: str, count: int) -> None:
        if self._refuses:
            raise BlockFailed("not scaled: no room")
        self.scaled.append((identity, group, count))

    def running(self, identity: str) -> set[str]:
        self._looks -= 1
        return {"old", "new-1", "new-2"} if self.scaled and self._looks < 0 else {"old"}

    def why_not_placed(self, identity: str) -> str:
        return self.lacks


class Observer:
    """Sees a call to one more allocation at every look, and says when it saw all."""

    def __init__(self) -> None:
        self.all = threading.Event()
        self._looks = 0

    def ask(self, do: str, allocations: list[str]) -> dict[str, Any]:
        assert (do, allocations) == ("called", ["new-1", "new-2"])
        self._looks += 1
        if self._looks >= len(allocations):
            self.all.set()
        return {"called": allocations[: self._looks]}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "POLL_S", 0.001)
    monkeypatch.setattr(scaling, "LOOK_S", 0.001)


def test_every_new_instance_runs_and_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, observer = Cluster(), Observer()
    growing = Scaling(cluster, "sl-x", GROWTH, observer)  # type: ignore[arg-type]
    assert observer.all.wait(5)
    growing._thread.join(5)
    seen = growing.end()
    assert cluster.scaled == [("sl-x", "application", 3)]
    assert (seen["group"], seen["from"], seen["to"]) == ("application", 1, 3)
    assert 0 < seen["running_s"] <= seen["served_s"]
    assert seen["problem"] is None


@pytest.mark.parametrize("lacks", ["", "group application: exhausted {'cpu': 1}"])
def test_a_run_that_ends_first_has_no_times_and_no_zeros(lacks: str) -> None:
    cluster = Cluster(looks=10**9, lacks=lacks)
    seen = Scaling(cluster, "sl-x", GROWTH, Observer()).end()  # type: ignore[arg-type]
    assert (seen["running_s"], seen["served_s"]) == (None, None)
    assert seen["problem"] == (lacks or None)


def test_what_nomad_refuses_is_told() -> None:
    growing = Scaling(Cluster(refuses=True), "sl-x", GROWTH, Observer())  # type: ignore[arg-type]
    growing._thread.join(5)
    assert growing.end()["problem"] == "not scaled: no room"
