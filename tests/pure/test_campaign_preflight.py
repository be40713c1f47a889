"""What the engine takes from the hosts stage's file: who is missing, what is untested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collector.campaign.errors import NotReadyError
from collector.campaign.preflight import read_preflight
from collector.plan.inventory import Host, Inventory

HOSTS = {
    name: Host(name, f"198.51.100.{number}", "bare-metal", False, "x86_64", (0,))
    for number, name in enumerate(("bench-1", "bench-2", "bench-3"), start=1)
}
GUEST = Host("lab-1", "198.18.0.11", "virtual", False, "x86_64", (0,))


def one(**given: Any) -> dict[str, Any]:
    return {"missing": None, "errors": [], "warnings": [], "untested": False, **given}


def write(state: Path, hosts: dict[str, Any]) -> None:
    (state / "preflight.json").write_text(json.dumps({"schema": 1, "hosts": hosts}))


def test_missing_hosts_leave_the_inventory(tmp_path: Path) -> None:
    write(tmp_path, {"bench-1": one(), "bench-2": one(missing="does not answer")})
    inventory = Inventory("bench", tmp_path, HOSTS, {"clients": ("bench-2", "bench-3")})
    seen = read_preflight(tmp_path)
    assert seen.missing() == {"bench-2": "does not answer"}
    left = seen.present(inventory)
    assert sorted(left.hosts) == ["bench-1", "bench-3"]
    assert left.group("clients") == (HOSTS["bench-3"],)


def test_untested_is_known_only_where_somebody_looked(tmp_path: Path) -> None:
    write(tmp_path, {"bench-1": one(untested=True), "bench-2": one()})
    seen = read_preflight(tmp_path)
    found = [seen.untested(host) for host in (*HOSTS.values(), GUEST)]
    assert found == [True, False, None, False]


def test_warnings_name_their_host(tmp_path: Path) -> None:
    write(tmp_path, {"bench-1": one(warnings=[["turbo\x1b[31m is on", "switch it off"]])})
    seen = read_preflight(tmp_path)
    assert seen.warnings(HOSTS["bench-1"]) == ["bench-1: turbo?[31m is on"]
    assert seen.warnings(HOSTS["bench-2"]) == seen.warnings(GUEST) == []


def test_a_lab_of_virtual_hosts_has_no_file(tmp_path: Path) -> None:
    assert read_preflight(tmp_path).missing() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hosts": {"x": {"missing": 7}}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preflight.json").write_text(text)
    with pytest.raises(NotReadyError, match=r"preflight\.json: not what the hosts stage writes"):
        read_preflight(tmp_path)
