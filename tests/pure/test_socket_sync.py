"""Socket units as Consul services: unit files, refusals, reconciliation, the whole program."""

from __future__ import annotations

import contextlib
import datetime as dt
import doctest
import importlib.util
import ipaddress
import itertools
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = Path(__file__).parents[2] / "roles" / "socket_sync" / "files" / "socket_sync.py"
TOKEN = "1f0c7b0e-0000-4000-8000-9a5c3d2b1e00"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("socket_sync", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["socket_sync"] = module
    spec.loader.exec_module(module)
    return module


sync = load()
TERMS = sync.Terms(prefix="host-", ttl_s=30, token_written=7)


def unit(name: str = "a.socket", *listen: str, files: tuple[str, ...] = ("a",)) -> Any:
    pairs = tuple((one.rpartition(" (")[0], one.rpartition(" (")[2][:-1]) for one in listen)
    return sync.Unit(name, pairs or (("/run/a.sock", "Stream"),), tuple(map(Path, files)))


def service(name: str = "host-a", path: str = "/run/a.sock", of: str = "a.socket") -> Any:
    return sync.Service(name, path, of, (), 30, 7)


def as_agent(one: Any, **other: Any) -> dict[str, Any]:
    """The service as the agent shows it."""
    sent = sync.registration(one)
    shown = {"ID": one.id, "Service": one.name, "Port": 0, **sent}
    return {key: shown[key] for key in ("ID", "Service", "SocketPath", "Tags", "Meta")} | other


# What systemd says


def test_shown_units_are_read() -> None:
    text = (
        "Listen=/run/a.sock (Stream)\nId=a.socket\nActiveState=active\n"
        "FragmentPath=/etc/systemd/system/a.socket\n"
        'DropInPaths="/etc/systemd/system/a\\\\x2db.socket.d/1.conf" /run/b.conf "/run/b \\$ c"\n'
        "\n"
        "Listen=[::]:8080 (Stream)\nListen=/run/b (x).sock (Datagram)\nId=b.socket\n"
        "ActiveState=active\nFragmentPath=\n"
        "\n"
        "Id=gone.socket\nActiveState=inactive\nFragmentPath=/x\n"
    )
    assert sync.parse_shown(text) == [
        sync.Unit(
            "a.socket",
            (("/run/a.sock", "Stream"),),
            (
                Path("/etc/systemd/system/a.socket"),
                Path("/etc/systemd/system/a\\x2db.socket.d/1.conf"),
                Path("/run/b.conf"),
                Path("/run/b $ c"),
            ),
        ),
        sync.Unit("b.socket", (("[::]:8080", "Stream"), ("/run/b (x).sock", "Datagram")), ()),
    ]
    assert sync.parse_shown("\n") == []


def test_examples_in_the_program_hold() -> None:
    assert doctest.testmod(sync) == (0, 2)


# What a unit's files say


@pytest.mark.parametrize(
    ("texts", "label"),
    [
        (["[Socket]\nListenStream=/run/a.sock\nService=other.service\n"], None),
        (["[X-Consul]\nService=host-a\n"], ("host-a", ())),
        (
            ["[X-Consul]\n Service = host-a \nTags= b  a b\n[Socket]\nTags=c"],
            ("host-a", ("b", "a")),
        ),
        (["# [X-Consul]\n;[X-Consul]\n"], None),
        (["[X-Consul]\n# why\nService=\\\n# not this\n  host-a\n"], ("host-a", ())),
        (["[X-Consul]\nTags=a \\\n  b\\\n\nService=host-a\n"], ("host-a", ("a", "b"))),
        (["[X-Consul]\nService=host-a\n[X-Other]\nx\n[X-Consul]\nTags=t"], ("host-a", ("t",))),
        (["", "[X-Consul]\nService=host-a\n"], ("host-a", ())),
        (["[X-Consul]\nService=host-a\n", "[X-Consul]\nService=host-b\n"], ("host-b", ())),
        (["[X-Consul]\nService=host-a\nTags=a\n", "[X-Consul]\nTags=b\n"], ("host-a", ("a", "b"))),
        (["[X-Consul]\nService=host-a\nTags=a\n", "[X-Consul]\nTags=\nTags=b"], ("host-a", ("b",))),
        (["[X-Consul]\nService=host-a\n", "[X-Consul]\nService=\n"], None),
        ([], None),
    ],
)
def test_label_of_unit_file_and_drop_ins(
    texts: list[str], label: tuple[str, tuple[str, ...]] | None
) -> None:
    assert sync.parse_label(texts) == (sync.Label(*label) if label else None)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_gives_a_label_none_or_a_refusal(texts: list[str]) -> None:
    with contextlib.suppress(sync.RefusedError):
        sync.parse_label(["[X-Consul]\n" + text for text in texts])


def test_missing_file_is_no_label_and_an_unreadable_one_is_refused(tmp_path: Path) -> None:
    assert sync.read_unit_file(tmp_path / "gone") == ""
    (tmp_path / "latin").write_bytes(b"[X-Consul]\nService=\xe4\n")
    for name, reason in (("latin", "not UTF-8"), (".", "Is a directory")):
        path = tmp_path / name
        _, refused = sync.want([unit(files=(str(path),))], TERMS)
        assert refused == [
            f"a.socket: {path} cannot be read ({reason}); expected a text that everybody may read,"
            " to see whether it has [X-Consul]: chmod a+r"
        ]


# Units that are refused

LONG = "/run/" + "x" * 102 + "é"  # 107 characters, 109 bytes
REFUSED = {
    "no service": (
        unit(),
        "[X-Consul]\nTags=a",
        "[X-Consul] has no Service=; expected the service's name: add it, or remove the section",
    ),
    "unknown key": (
        unit(),
        "[X-Consul]\nServce=host-a",
        "[X-Consul] has 'Servce=host-a'; expected Service=NAME or Tags=WORDS: mend that line",
    ),
    "no assignment": (
        unit(),
        "[X-Consul]\nService",
        "[X-Consul] has 'Service'; expected Service=NAME or Tags=WORDS: mend that line",
    ),
    "no label": (
        unit(),
        "[X-Consul]\nService=host-A_1",
        "Service='host-A_1' is no RFC 1123 label; expected 1 to 63 of a-z, 0-9 and inner hyphens:"
        " rename the service",
    ),
    "specifier": (
        unit("a@1.socket"),
        "[X-Consul]\nService=host-%i",
        "Service='host-%i' is no RFC 1123 label; expected 1 to 63 of a-z, 0-9 and inner hyphens:"
        " rename the service",
    ),
    "prefix": (
        unit(),
        "[X-Consul]\nService=web",
        "Service='web' does not begin with 'host-'; this host may register no other names: call it"
        " 'host-web'",
    ),
    "several": (
        unit("a.socket", "/run/a.sock (Stream)", "/run/b.sock (Stream)"),
        "[X-Consul]\nService=host-a",
        "listens at 2 addresses (/run/a.sock (Stream), /run/b.sock (Stream)); expected one"
        " ListenStream=/absolute/path: give each socket a unit of its own",
    ),
    "none": (
        sync.Unit("a.socket", (), (Path("a"),)),
        "[X-Consul]\nService=host-a",
        "listens at 0 addresses (); expected one ListenStream=/absolute/path: give each socket a"
        " unit of its own",
    ),
    **{
        name: (
            unit("a.socket", where),
            "[X-Consul]\nService=host-a",
            f"listens at {where}; expected one ListenStream=/absolute/path: change it, or remove"
            " [X-Consul] and register the service with its port",
        )
        for name, where in (
            ("tcp", "[::]:8080 (Stream)"),
            ("relative", "run/a.sock (Stream)"),
            ("abstract", "@a (Stream)"),
            ("datagram", "/run/a.sock (Datagram)"),
        )
    },
    "too long": (
        unit("a.socket", f"{LONG} (Stream)"),
        "[X-Consul]\nService=host-a",
        f"listens at {LONG}, which has 109 bytes; a Unix socket's path has at most 107: choose a"
        " shorter one",
    ),
    "bytes": (
        unit("a.socket", "/run/\udce4 (Stream)"),
        "[X-Consul]\nService=host-a",
        "listens at '/run/\\udce4'; expected printable UTF-8: rename the socket",
    ),
}


@pytest.mark.parametrize(("bad", "text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_unit_is_refused_and_a_good_one_beside_it_is_not(
    bad: Any, text: str, message: str
) -> None:
    good = unit("good.socket", "/run/good.sock (Stream)", files=("good",))
    texts = {"a": text, "good": "[X-Consul]\nService=host-good"}
    wanted, refused = sync.want([bad, good], TERMS, lambda path: texts[str(path)])
    assert refused == [f"{bad.name}: {message}"]
    assert [one.id for one in wanted] == ["socket-good.socket"]


def test_an_unlabelled_unit_is_never_looked_at() -> None:
    tcp = unit("a.socket", "[::]:22 (Stream)", "/run/b (Datagram)")
    assert sync.want([tcp], TERMS, lambda _: "[Socket]\nListenStream=22\n") == ([], [])


def test_longest_path_and_names_are_taken() -> None:
    path, name = "/run/" + "x" * 102, "host-" + "a" * 58
    wanted, refused = sync.want(
        [unit("a.socket", f"{path} (Stream)")], TERMS, lambda _: f"[X-Consul]\nService={name}"
    )
    assert (len(path), len(name), refused) == (107, 63, [])
    assert wanted == [sync.Service(name, path, "a.socket", (), 30, 7)]


def test_units_that_share_a_path_are_all_refused() -> None:
    units = [unit(f"{name}.socket", f"/run/{name[0]}.sock (Stream)") for name in ("a1", "a2", "b")]
    wanted, refused = sync.want(units, TERMS, lambda _: "[X-Consul]\nService=host-a")
    assert [one.unit for one in wanted] == ["b.socket"]
    assert refused == [
        f"{one}.socket: listens at /run/a.sock, as {other}.socket does; expected one unit a path:"
        " change ListenStream= of all but one"
        for one, other in (("a1", "a2"), ("a2", "a1"))
    ]


# From what is there to what should be


def actions(*found: Any) -> list[tuple[str, str]]:
    return [(one.verb, one.id) for one in found]


def test_reconciliation() -> None:
    new, kept, moved = (service(f"host-{n}", f"/run/{n}.sock", f"{n}.socket") for n in "abc")
    present = {
        kept.id: as_agent(kept),
        moved.id: as_agent(moved, SocketPath="/run/elsewhere.sock"),
        "socket-old.socket": as_agent(service(of="old.socket")),
        "web": {"ID": "web", "Service": "web", "Meta": {}},
        "db": {"ID": "db", "Service": "db", "Meta": None},
        "other": {"ID": "other", "Meta": {"managed-by": "another"}},
    }
    found, refused = sync.reconcile([new, kept, moved], present)
    assert refused == []
    assert actions(*found) == [
        ("deregister", "socket-old.socket"),
        ("register", new.id),
        ("renew", kept.id),
        ("register", moved.id),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"Service": "host-b"},
        {"Tags": ["x"]},
        {"Meta": {"managed-by": sync.MANAGED_BY}},
        {"Meta": service().meta | {"ttl-s": "90"}},
        {"Meta": service().meta | {"token-written": "8"}},
    ],
)
def test_whatever_differs_is_registered_anew(change: dict[str, Any]) -> None:
    one = service()
    found, _ = sync.reconcile([one], {one.id: as_agent(one, **change)})
    assert actions(*found) == [("register", one.id)]


def test_an_id_that_another_holds_is_refused() -> None:
    one = service()
    found, refused = sync.reconcile([one], {one.id: as_agent(one, Meta={})})
    assert found == []
    assert refused == [
        "a.socket: Consul has a service socket-a.socket that something else made; expected that id"
        " to be free: deregister that service, or rename the unit"
    ]


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.sets(st.integers(10, 14)))
def test_reconciliation_done_leaves_nothing_but_renewals(
    want: set[int], have: set[int], foreign: set[int]
) -> None:
    wanted = [service(of=f"{n}.socket") for n in sorted(want)]
    present = {(one := service(of=f"{n}.socket")).id: as_agent(one) for n in have}
    present |= {str(n): {"ID": str(n), "Meta": {}} for n in foreign}
    found, _ = sync.reconcile(wanted, present)
    for action in found:
        if action.verb == "deregister":
            del present[action.id]
        else:
            present[action.id] = as_agent(action.service)
    assert {*present} == {one.id for one in wanted} | {str(n) for n in foreign}
    again, _ = sync.reconcile(wanted, present)
    assert {action.verb for action in again} <= {"renew"}


# The whole program, with a stand-in for systemd and one for Consul's agent


class Consul(ThreadingHTTPServer):
    """An agent with TLS that keeps services and checks, and knows one token."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.status: dict[str, int] = {}
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that refuses our certificate is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Consul

    def do_GET(self) -> None:
        self.reply(200, json.dumps(self.server.services))

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "{}")
        parts = self.path.partition("?")[0].removeprefix("/v1/agent/").split("/")
        what, name = "/".join(parts[:2]), unquote(parts[-1])
        known = {"service/deregister": self.server.services, "check/update": self.server.checks}
        if name not in known.get(what, {name: None}):
            self.reply(404, f"Unknown {name}")
        elif what == "service/register":
            kept = {key: body[key] for key in ("ID", "SocketPath", "Tags", "Meta")}
            self.server.services[body["ID"]] = {**kept, "Service": body["Name"]}
            self.server.checks["service:" + body["ID"]] = body["Check"]
            self.reply(200, "")
        elif what == "check/update":
            self.server.checks[name] |= body
            self.reply(200, "")
        else:
            del self.server.services[name], self.server.checks["service:" + name]
            self.reply(200, "")

    def reply(self, status: int, text: str) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1/agent/")
        self.server.calls.append(f"{self.command} {unquote(path)}")
        forced = next((self.server.status[one] for one in self.server.status if one in path), None)
        if self.headers["X-Consul-Token"] != TOKEN:
            status, text = 403, "Permission denied"
        elif forced:
            status, text = forced, "no such luck"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, its own CA, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "both.pem").write_bytes(certificate.public_bytes(pem) + private)
    return folder


@pytest.fixture
def consul(tls: Path) -> Iterator[Consul]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "both.pem")
    with Consul(context) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


class Host:
    """Socket units as files in a folder, a systemctl that shows them, and the program."""

    def __init__(
        self, folder: Path, consul: Consul, tls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder, self.consul = folder, consul
        self.token = folder / "token"
        self.token.write_text(TOKEN + "\n")
        self.token.chmod(0o600)
        os.utime(self.token, (7, 7))
        self.ca = tls / "ca.pem"
        self.units: dict[str, str] = {}
        program = folder / "systemctl.py"
        program.write_text(
            "import sys, pathlib\n"
            "print(pathlib.Path(__file__).with_name("
            "'list' if 'list-units' in sys.argv else 'show').read_text())\n"
        )
        monkeypatch.setattr(sync, "SYSTEMCTL", [sys.executable, "-I", "-S", str(program)])
        monkeypatch.setattr(sync, "WATCHED", [folder / "watched"])

    def has(self, name: str, text: str | None, listen: str = "") -> None:
        """Start a unit, or stop it."""
        self.units.pop(name, None)
        if text is not None:
            file = self.folder / name
            file.write_text(text)
            where = listen or f"/run/{name}.sock (Stream)"
            self.units[name] = f"Id={name}\nActiveState=active\nFragmentPath={file}\nListen={where}"

    def run(self, *options: str) -> int:
        (self.folder / "list").write_text(json.dumps([{"unit": name} for name in self.units]))
        (self.folder / "show").write_text("\n\n".join(self.units.values()))
        address = f"127.0.0.1:{self.consul.server_port}"
        where = ["--address", address, "--ca", str(self.ca), "--token", str(self.token)]
        code = sync.main([*where, *options])
        assert isinstance(code, int)
        return code


@pytest.fixture
def host(tmp_path: Path, consul: Consul, tls: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, consul, tls, monkeypatch)


LABELLED = "[Socket]\nListenStream=/x\n[X-Consul]\nService=host-echo\nTags=first\n"
ODD = "odd\\x2dname@1.socket"


def test_a_service_comes_lives_and_goes(
    host: Host, consul: Consul, capsys: pytest.CaptureFixture[str]
) -> None:
    consul.services["web"] = {"ID": "web", "Service": "web", "Meta": {}}
    host.has(ODD, LABELLED)
    host.has("plain.socket", "[Socket]\nListenStream=/y\n")
    assert host.run() == 0
    assert consul.services[f"socket-{ODD}"] == {
        "ID": f"socket-{ODD}",
        "Service": "host-echo",
        "SocketPath": f"/run/{ODD}.sock",
        "Tags": ["first"],
        "Meta": {
            "managed-by": "socklab-socket-sync",
            "systemd-unit": ODD,
            "ttl-s": "30",
            "token-written": "7",
        },
    }
    check = consul.checks[f"service:socket-{ODD}"]
    assert check["TTL"] == "30s"
    assert check["DeregisterCriticalServiceAfter"] == "1m"
    assert host.run() == 0
    assert check["Output"] == f"systemd: {ODD} is active"
    host.has(ODD, None)
    assert host.run() == 0
    assert consul.services.keys() == {"web"}
    assert host.run() == 0
    assert consul.calls == [
        "GET services",
        "PUT service/register",
        "GET services",
        f"PUT check/update/service:socket-{ODD}",
        "GET services",
        f"PUT service/deregister/socket-{ODD}",
        "GET services",
    ]
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"register socket-{ODD}: host-echo at /run/{ODD}.sock",
        f"deregister socket-{ODD}",
    ]
    assert said.err == ""


def test_a_unit_that_loses_its_label_goes(host: Host, consul: Consul) -> None:
    host.has("a.socket", LABELLED)
    assert host.run() == 0
    host.has("a.socket", "[Socket]\nListenStream=/x\n")
    assert host.run() == 0
    assert consul.services == {}


def test_a_bad_unit_says_so_and_the_good_one_is_registered(
    host: Host, consul: Consul, capsys: pytest.CaptureFixture[str]
) -> None:
    host.has("bad.socket", LABELLED, "[::]:8080 (Stream)")
    host.has("good.socket", LABELLED)
    assert host.run() == 1
    assert consul.services.keys() == {"socket-good.socket"}
    assert capsys.readouterr().err.splitlines() == [
        "bad.socket: listens at [::]:8080 (Stream); expected one ListenStream=/absolute/path:"
        " change it, or remove [X-Consul] and register the service with its port"
    ]


def test_a_dry_run_changes_nothing(
    host: Host, consul: Consul, capsys: pytest.CaptureFixture[str]
) -> None:
    host.has("a.socket", LABELLED)
    assert host.run("--dry-run") == 0
    assert (consul.services, consul.calls) == ({}, ["GET services"])
    said = capsys.readouterr().out
    assert said == "would register socket-a.socket: host-echo at /run/a.socket.sock\n"


def test_a_lost_check_is_registered_again(host: Host, consul: Consul) -> None:
    host.has("a.socket", LABELLED)
    host.run()
    del consul.checks["service:socket-a.socket"]
    assert host.run() == 0
    assert consul.checks.keys() == {"service:socket-a.socket"}


def test_a_change_during_a_look_is_looked_at(
    host: Host, consul: Consul, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.has("bad.socket", LABELLED, "[::]:8080 (Stream)")
    host.has("a.socket", LABELLED)
    changes = iter([1, 2, 2, 2])
    monkeypatch.setattr(sync, "last_change", lambda: next(changes))
    assert host.run() == 1
    assert [call.partition("/")[0] for call in consul.calls] == [
        "GET services",
        "PUT service",
        "GET services",
        "PUT check",
    ]
    assert capsys.readouterr().err.count("bad.socket: ") == 1


def test_endless_changes_end_it_all_the_same(
    host: Host, consul: Consul, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = itertools.count()
    monkeypatch.setattr(sync, "last_change", lambda: next(changes))
    assert host.run() == 0
    assert consul.calls == ["GET services"] * sync.MAX_LOOKS


def test_last_change_is_that_of_the_folders_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "WATCHED", [tmp_path, tmp_path / "none"])
    before = sync.last_change()
    os.utime(tmp_path, ns=(before, before + 1))
    assert sync.last_change() == before + 1
    monkeypatch.setattr(sync, "WATCHED", [tmp_path / "none"])
    assert sync.last_change() == 0


def test_a_new_token_and_a_new_period_register_again(host: Host, consul: Consul) -> None:
    host.has("a.socket", LABELLED)
    host.run()
    os.utime(host.token, (8, 8))
    host.run()
    assert consul.calls[-1] == "PUT service/register"
    host.run("--ttl", "90")
    assert consul.calls[-1] == "PUT service/register"
    assert consul.checks["service:socket-a.socket"]["TTL"] == "90s"


def test_a_service_that_consul_refuses_does_not_stop_the_others(
    host: Host, consul: Consul, capsys: pytest.CaptureFixture[str]
) -> None:
    host.has("a.socket", LABELLED)
    consul.status["register"] = 400
    host.has("b.socket", LABELLED)
    assert host.run() == 1
    assert consul.calls.count("PUT service/register") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"register socket-{name}.socket: host-echo at /run/{name}.socket.sock: Consul says 400:"
        " no such luck; expected Consul to take it: see its log"
        for name in "ab"
    ]


# What ends it


def test_a_refused_token_is_not_ready(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.token.write_text("another\n")
    assert host.run() == 3
    said = capsys.readouterr().err
    assert said == (
        f"socket-sync: Consul at 127.0.0.1:{host.consul.server_port} refuses the token:"
        " Permission denied\n"
    )


def test_a_broken_or_absent_consul_is_not_ready(
    host: Host, consul: Consul, capsys: pytest.CaptureFixture[str]
) -> None:
    consul.status["services"] = 500
    assert host.run() == 3
    assert "says 500: no such luck" in capsys.readouterr().err
    consul.status["services"] = 404
    assert host.run() == 3
    assert "says 404; expected services by id: 'no such luck'" in capsys.readouterr().err
    consul.server_port = 1
    assert host.run() == 3
    assert "Consul at 127.0.0.1:1 does not answer: " in capsys.readouterr().err


def test_a_stranger_gets_no_token(
    host: Host, consul: Consul, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=other", "-keyout", "/dev/null", "-out", tmp_path / "other.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    host.ca = tmp_path / "other.pem"
    assert host.run() == 3
    assert "certificate verify failed" in capsys.readouterr().err
    assert consul.calls == []


def test_systemd_that_fails_is_not_ready(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, said in (
        (["/bin/false"], "systemctl list-units ended with 1: "),
        (["/nowhere"], "systemctl list-units: [Errno 2] No such file or directory: '/nowhere'"),
        (["/bin/echo"], "systemctl list-units: expected units as JSON: JSONDecodeError("),
    ):
        monkeypatch.setattr(sync, "SYSTEMCTL", command)
        assert host.run() == 3
        assert capsys.readouterr().err.startswith(f"socket-sync: {said}")


def test_an_unusable_token_or_ca_is_bad_input(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.token.chmod(0o640)
    assert host.run() == 2
    assert capsys.readouterr().err == (
        f"socket-sync: {host.token}: others may read this token; expected mode 0600: chmod 0600\n"
    )
    host.token.chmod(0o600)
    for text in ("", "a\nb\n", "a b"):
        host.token.write_text(text)
        assert host.run() == 2
        assert capsys.readouterr().err == (
            f"socket-sync: {host.token}: expected one Consul token and nothing else\n"
        )
    host.token.write_text(TOKEN)
    host.ca = host.token
    assert host.run() == 2
    said = capsys.readouterr().err
    assert said.endswith("expected the lab's CA in PEM\n")
    assert TOKEN not in said
    host.token.unlink()
    assert host.run() == 2
    assert "expected a Consul token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "consul"], "--address 'consul': expected HOST:PORT"),
        (["--ttl", "0"], "--ttl 0: expected 1 second or more"),
        (["--ttl", "x"], "argument --ttl: invalid int value: 'x'"),
    ],
)
def test_wrong_usage(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        sync.main(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_it_runs_with_nothing_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "--dry-run" in done.stdout) == (0, True)
