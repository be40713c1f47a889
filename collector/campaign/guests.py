"""Emulated hosts on the controller: frozen while others are measured, for they take their CPUs.

Freezing is the container engine's (``podman pause``): the whole emulator stands still, and its
clock, which follows the machine's, is right when it goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from collector.campaign.errors import NotReadyError
from collector.plan.inventory import Inventory

RUNNING: Final = "running"
PAUSED: Final = "paused"
LIMIT_S: Final = 60.0


class _Guest(NamedTuple):
    lab: str
    name: str
    container: str
    state: str


class Guests:
    """The emulated hosts that run as containers on this machine, found by their label.

    One that the inventory does not name (any more) takes the machine's CPUs all the same.
    """

    def __init__(self, inventory: Inventory) -> None:
        # Other kinds of hosts are measured on CPUs of their own.
        self._here = any(host.kind == "virtual" for host in inventory.hosts.values())
        self._lab = inventory.lab_id
        self._config = inventory.lab_state / "containers.conf"

    def states(self) -> dict[str, str]:
        """State of each, in podman's words, by host name; of another lab's by LAB/NAME."""
        return {
            one.name if one.lab == self._lab else f"{one.lab}/{one.name}": one.state
            for one in self._found()
        }

    def awake(self) -> list[str]:
        """Hosts that use the machine's CPUs now."""
        return [name for name, state in self.states().items() if state == RUNNING]

    def freeze(self) -> list[str]:
        """Stop the time of those that run; returns them. ``NotReadyError`` if podman will not.

        Another lab may be about to measure its own: that one is refused, not touched.
        """
        for one in self._found():
            if one.lab != self._lab and one.state == RUNNING:
                raise NotReadyError(
                    f"the emulated host {one.name} of lab {one.lab} takes this machine's CPUs. "
                    f"make teardown lab={one.lab}, or let it stand still meanwhile: "
                    f"podman pause {one.container}"
                )
        return self._turn("pause", RUNNING)

    def thaw(self) -> list[str]:
        """Let those that are frozen go on; returns them. ``NotReadyError`` if podman will not."""
        return self._turn("unpause", PAUSED)

    def _turn(self, how: str, before: str) -> list[str]:
        turned = [one for one in self._found() if (one.lab, one.state) == (self._lab, before)]
        for one in turned:
            self._podman(how, one.container)
        return [one.name for one in turned]

    def _found(self) -> list[_Guest]:
        if not self._here:
            return []
        said = self._podman("ps", "--all", "--filter", "label=socklab.guest", "--format", "json")
        return sorted(
            _Guest(
                one["Labels"]["socklab.lab"], one["Labels"]["socklab.guest"], one["Names"][0],
                one["State"],
            )
            for one in json.loads(said)
        )  # fmt: skip

    def _podman(self, *arguments: str) -> str:
        environment = {**os.environ}
        if Path(self._config).exists():
            environment["CONTAINERS_CONF"] = str(self._config)
        what = f"podman {arguments[0]}"
        try:
            done = subprocess.run(
                ["podman", *arguments],
                env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise NotReadyError(f"{what}: there is no podman on this machine") from None
        except subprocess.TimeoutExpired:
            raise NotReadyError(f"{what} did not end within {LIMIT_S:.0f} s") from None
        if done.returncode != 0:
            raise NotReadyError(f"{what}: {done.stderr.strip()}")
        return done.stdout
