"""Labelled systemd socket units of a host are Consul services for as long as they are active."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LAB, Lab, wait_for

HOST = "lab-2"
PERIOD_S = 10.0
UNITS = "/etc/systemd/system"
STARTERS = ("socklab-socket-sync.timer", "socklab-socket-sync.path")
LABEL = "[X-Consul]\nService=host-echo\nTags=text\n"


# Asks the host's own agent with the synchroniser's token, and prints the status.
CALL = """
import http.client, pathlib, ssl, sys
folder = pathlib.Path("/etc/socklab/socket-sync")
context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
agent = http.client.HTTPSConnection("127.0.0.1", 8501, timeout=10, context=context)
token = (folder / "token").read_text().strip()
agent.request(sys.argv[1], sys.argv[2], body=sys.argv[3], headers={"X-Consul-Token": token})
print(agent.getresponse().status)
"""


def write(path: str, text: str) -> None:
    script = 'mkdir -p "${0%/*}"; cat > "$0"'
    subprocess.run(
        ["podman", "exec", "-i", f"{LAB}-{HOST}", "sh", "-c", script, path],
        input=text, text=True, check=True,
    )  # fmt: skip


def start(lab: Lab, name: str, extra: str = "") -> None:
    """A socket unit whose service gives back what it is sent."""
    write(f"{UNITS}/{name}.socket", f"[Socket]\nListenStream=/run/{name}.sock\nAccept=yes\n{extra}")
    write(f"{UNITS}/{name}@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n")
    lab.on(HOST, "systemctl", "daemon-reload")
    lab.on(HOST, "systemctl", "start", f"{name}.socket")


def consul(lab: Lab, path: str) -> Any:
    settings = lab.client_environment()
    request = urllib.request.Request(
        settings["CONSUL_HTTP_ADDR"] + path,
        headers={"X-Consul-Token": settings["CONSUL_HTTP_TOKEN"]},
    )
    context = ssl.create_default_context(cafile=settings["CONSUL_CACERT"])
    with urllib.request.urlopen(request, timeout=20, context=context) as reply:
        return json.load(reply)


def found(lab: Lab, name: str, *, passing: bool = True) -> list[Any]:
    """What the catalog has of a service, asked as a consumer of the mesh would."""
    return consul(lab, f"/v1/health/service/{name}{'?passing' if passing else ''}")


def synchronise(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program by hand, as its user does."""
    return lab.on(
        HOST, "runuser", "-u", "socklab-socket-sync", "--",
        "/usr/local/lib/socklab/socket-sync", *options, check=False,
    )  # fmt: skip


@pytest.fixture
def units(lab: Lab) -> Iterator[Lab]:
    """Nothing of a test stays: its units are named socktest-*."""
    try:
        yield lab
    finally:
        lab.on(HOST, "systemctl", "start", *STARTERS)
        lab.on(HOST, "sh", "-c", "systemctl stop 'socktest-*.socket' 'socktest-*.service'")
        lab.on(HOST, "sh", "-c", f"rm -rf {UNITS}/socktest-* /run/socktest-*")
        lab.on(HOST, "systemctl", "daemon-reload")
        wait_for(lambda: not found(lab, "host-echo", passing=False), PERIOD_S + 5, "clean catalog")


def test_a_labelled_unit_is_a_service_while_it_is_active(units: Lab) -> None:
    start(units, "socktest-plain")
    start(units, "socktest-echo", f"RemoveOnStop=yes\n{LABEL}")
    (one,) = wait_for(lambda: found(units, "host-echo"), PERIOD_S + 5, "the service")
    assert one["Node"]["Node"] == HOST
    service = one["Service"]
    assert (service["ID"], service["Tags"]) == ("socket-socktest-echo.socket", ["text"])
    assert service["Meta"]["systemd-unit"] == "socktest-echo.socket"
    said = units.on(
        HOST, "python3", "-c",
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'hello'); s.shutdown(socket.SHUT_WR); print(s.recv(9).decode())",
        service["SocketPath"],
    )  # fmt: skip
    assert said.stdout == "hello\n"
    assert "socktest-plain" not in json.dumps(consul(units, f"/v1/catalog/node/{HOST}"))
    units.on(HOST, "systemctl", "stop", "socktest-echo.socket")
    wait_for(lambda: not found(units, "host-echo", passing=False), PERIOD_S + 5, "its end")


def test_a_drop_in_gives_the_label_and_takes_it_away(units: Lab) -> None:
    # A name with a backslash: systemctl quotes the paths of its drop-ins.
    name = "socktest-with\\x2dhyphen"
    write(f"{UNITS}/{name}.socket.d/label.conf", LABEL)
    start(units, name)
    (one,) = wait_for(lambda: found(units, "host-echo"), PERIOD_S + 5, "the service")
    assert one["Service"]["ID"] == f"socket-{name}.socket"
    write(f"{UNITS}/{name}.socket.d/label.conf", LABEL + "Service=\n")
    wait_for(lambda: not found(units, "host-echo", passing=False), PERIOD_S + 5, "its end")


def test_nothing_connects_to_the_socket(units: Lab) -> None:
    start(units, "socktest-echo", LABEL)
    wait_for(lambda: found(units, "host-echo"), PERIOD_S + 5, "the service")
    assert synchronise(units).returncode == 0
    shown = units.on(HOST, "systemctl", "show", "-p", "NAccepted", "socktest-echo.socket")
    assert shown.stdout == "NAccepted=0\n"


def test_refusals_are_said_and_good_units_are_served(units: Lab) -> None:
    start(units, "socktest-echo", LABEL)
    start(units, "socktest-name", "[X-Consul]\nService=web\n")
    start(units, "socktest-tcp", "ListenStream=127.0.0.1:8999\n[X-Consul]\nService=host-tcp\n")
    done = synchronise(units)
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if ".socket: " in line]
    assert [line for line in said if not line.startswith("register")] == [
        "socktest-name.socket: Service='web' does not begin with 'host-'; this host may register no"
        " other names: call it 'host-web'",
        "socktest-tcp.socket: listens at 2 addresses (/run/socktest-tcp.sock (Stream),"
        " 127.0.0.1:8999 (Stream)); expected one ListenStream=/absolute/path: give each socket a"
        " unit of its own",
    ]
    assert found(units, "host-echo")
    logged = wait_for(
        lambda: (
            units.on(
                HOST,
                "sh",
                "-c",
                "journalctl -q -t socket-sync --since -60s | grep socktest-tcp || :",
            ).stdout
        ),
        PERIOD_S + 5,
        "the refusal in the journal",
    )
    assert "expected one ListenStream=" in logged


def test_its_token_registers_its_names_and_no_others(units: Lab) -> None:
    def call(method: str, path: str, body: object = None) -> int:
        done = units.on(HOST, "python3", "-c", CALL, method, path, json.dumps(body))
        return int(done.stdout)

    register = "/v1/agent/service/register"
    assert call("PUT", register, {"Name": "web", "ID": "socktest"}) == 403
    assert call("PUT", "/v1/kv/x", "y") == 403
    assert call("GET", "/v1/agent/self") == 403
    assert call("GET", "/v1/acl/tokens") == 403
    # One that is not the synchroniser's stays, though its name has the prefix.
    assert call("PUT", register, {"Name": "host-foreign", "ID": "socktest"}) == 200
    try:
        assert synchronise(units).returncode == 0
        assert found(units, "host-foreign")
    finally:
        assert call("PUT", "/v1/agent/service/deregister/socktest") == 200


def test_its_files_are_kept_to_their_owner(lab: Lab) -> None:
    shown = lab.on(HOST, "stat", "-c", "%a %U %n", "/etc/socklab/socket-sync/token").stdout
    assert shown == "600 socklab-socket-sync /etc/socklab/socket-sync/token\n"
    kept: Path = lab.state / "secrets" / "consul" / f"socket-sync-{HOST}"
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_socket_services_do_not_outlive_their_synchroniser(units: Lab) -> None:
    start(units, "socktest-echo", LABEL)
    wait_for(lambda: found(units, "host-echo"), PERIOD_S + 5, "the service")
    units.on(HOST, "systemctl", "stop", *STARTERS)
    wait_for(lambda: not found(units, "host-echo"), 3 * PERIOD_S + 10, "a critical check")
    wait_for(lambda: not found(units, "host-echo", passing=False), 150, "its end")
