"""Emulated hosts on this machine: found by label, frozen, thawed. podman is a script here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector.campaign.errors import NotReadyError
from collector.campaign.guests import Guests
from collector.plan.inventory import Host, Inventory


def guest(lab: str, name: str, state: str) -> dict[str, object]:
    labels = {"socklab.lab": lab, "socklab.guest": name}
    return {"Names": [f"{lab}-{name}"], "State": state, "Labels": labels}


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Says what is in ``listed``, and keeps what it was asked in ``asked``."""
    program = tmp_path / "podman"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase $1 in ps) cat {tmp_path}/listed ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


def guests(folder: Path, *listed: dict[str, object], kind: str = "virtual") -> Guests:
    (folder / "listed").write_text(json.dumps(listed))
    host = Host("lab-2", "198.18.0.12", kind, False, "x86_64", (1,))
    return Guests(Inventory("mine", folder, {"lab-2": host}, {"clients": ("lab-2",)}))


def asked(folder: Path) -> list[str]:
    lines = (folder / "asked").read_text().splitlines()
    return [line for line in lines if not line.startswith("ps ")]


def test_one_that_the_inventory_does_not_name_is_frozen_and_goes_on(podman: Path) -> None:
    found = guests(podman, guest("mine", "lab-arm", "running"), guest("mine", "lab-x86", "exited"))
    assert found.states() == {"lab-arm": "running", "lab-x86": "exited"}
    assert found.awake() == ["lab-arm"]
    assert found.freeze() == ["lab-arm"]
    assert found.thaw() == []
    guests(podman, guest("mine", "lab-arm", "paused")).thaw()
    assert asked(podman) == ["pause mine-lab-arm", "unpause mine-lab-arm"]


def test_another_labs_is_refused_and_not_touched(podman: Path) -> None:
    found = guests(podman, guest("other", "lab-arm", "running"))
    with pytest.raises(NotReadyError, match=r"lab-arm of lab other.*podman pause other-lab-arm"):
        found.freeze()
    assert found.awake() == ["other/lab-arm"]
    assert asked(podman) == []
    still = guests(podman, guest("other", "lab-arm", "paused"))
    assert still.freeze() == still.thaw() == still.awake() == []


def test_machines_of_ones_own_have_cpus_of_their_own(podman: Path) -> None:
    found = guests(podman, guest("other", "lab-arm", "running"), kind="bare-metal")
    assert found.freeze() == found.awake() == []
    assert not (podman / "asked").exists(), "podman may not be there"


def test_podmans_trouble_is_told(podman: Path) -> None:
    (podman / "podman").write_text("#!/bin/sh\necho no space left >&2\nexit 125\n")
    with pytest.raises(NotReadyError, match="podman ps: no space left"):
        guests(podman).states()
