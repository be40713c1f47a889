"""Emulated hosts on the controller: frozen while others are measured, for they take their CPUs.

Freezing is the container engine's (``podman pause``): the whole emulator stands still, and its
clock, which follows the machine's, is right when it goes on.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from collector.campaign.errors import NotReadyError
from collector.plan.inventory import Inventory

RUNNING: Final = "running"
PAUSED: Final = "paused"
LIMIT_S: Final = 60.0


class Guests:
    """The emulated hosts of an inventory that run as containers on this machine."""

    def __init__(self, inventory: Inventory) -> None:
        self._containers = {
            host.name: host.container
            for host in inventory.hosts.values()
            if host.container is not None
        }
        self._config = inventory.lab_state / "containers.conf"

    def states(self) -> dict[str, str]:
        """State of each by host name, in podman's words; ``absent`` for one that is not there."""
        found = {}
        for name, container in self._containers.items():
            done = self._podman("inspect", "--format", "{{.State.Status}}", container)
            found[name] = done.stdout.strip() if done.returncode == 0 else "absent"
        return found

    def awake(self) -> list[str]:
        """Hosts that use the machine's CPUs now."""
        return [name for name, state in self.states().items() if state == RUNNING]

    def freeze(self) -> list[str]:
        """Stop the time of those that run; returns them. ``NotReadyError`` if podman will not."""
        return self._turn("pause", RUNNING)

    def thaw(self) -> list[str]:
        """Let those that are frozen go on; returns them. ``NotReadyError`` if podman will not."""
        return self._turn("unpause", PAUSED)

    def _turn(self, how: str, before: str) -> list[str]:
        turned = [name for name, state in self.states().items() if state == before]
        for name in turned:
            done = self._podman(how, self._containers[name])
            if done.returncode != 0:
                raise NotReadyError(f"{name}: podman {how}: {done.stderr.strip()}")
        return turned

    def _podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ}
        if Path(self._config).exists():
            environment["CONTAINERS_CONF"] = str(self._config)
        try:
            return subprocess.run(
                ["podman", *arguments],
                env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotReadyError(
                f"podman {arguments[0]} did not end within {LIMIT_S:.0f} s"
            ) from None
