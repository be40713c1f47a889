"""An arm that grows while it is measured: instances are asked for, and what comes of it is timed.

The job says what grows and how far, by a group's ``scaling`` block. All of it is asked for as the
measured part begins, as ``nomad job scale`` does; the times run from there on the controller's
clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from collector.campaign.cluster import POLL_S, Cluster
from collector.campaign.errors import CampaignError
from collector.campaign.remote import Remote

LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Growth:
    """A group that may grow: from ``count`` instances to ``most``."""

    group: str
    count: int
    most: int


def growth_of(job: Mapping[str, Any]) -> Growth | None:
    """Return the group of a rendered job that may grow; None where none may."""
    for group in job["TaskGroups"]:
        most = (group.get("Scaling") or {}).get("Max") or 0
        if most > group["Count"]:
            return Growth(group["Name"], group["Count"], most)
    return None


class Scaling:
    """One run's growth, watched in a thread of its own until ``end``.

    Nobody else may ask ``observer``, of the host where the group grows, until then.
    """

    def __init__(self, cluster: Cluster, identity: str, growth: Growth, observer: Remote) -> None:
        self._cluster = cluster
        self._identity = identity
        self._growth = growth
        self._observer = observer
        self._over = threading.Event()
        self._seen: dict[str, Any] = {"running_s": None, "served_s": None, "problem": None}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, Any]:
        """Return what was seen by now (docs/contracts.md, Block file, ``scaled``)."""
        self._over.set()
        self._thread.join()
        growth = self._growth
        return {"group": growth.group, "from": growth.count, "to": growth.most, **self._seen}

    def _watch(self) -> None:
        try:
            before = self._cluster.running(self._identity)
            began = time.monotonic()
            self._cluster.scale(self._identity, self._growth.group, self._growth.most)
            wanted = self._growth.most - self._growth.count
            while len(new := self._cluster.running(self._identity) - before) < wanted:
                if self._over.wait(POLL_S):
                    why = self._cluster.why_not_placed(self._identity)
                    self._seen["problem"] = why or None
                    return
            self._seen["running_s"] = round(time.monotonic() - began, 3)
            self._await_calls(new, began)
        except CampaignError as error:
            self._seen["problem"] = str(error)

    def _await_calls(self, allocations: set[str], began: float) -> None:
        """Wait until each new instance was called: until its network has accepted a connection."""
        asked = sorted(allocations)
        while self._observer.ask("called", allocations=asked)["called"] != asked:
            if self._over.wait(LOOK_S):
                return
        self._seen["served_s"] = round(time.monotonic() - began, 3)
