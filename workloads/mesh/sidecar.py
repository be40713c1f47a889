#!/usr/bin/python3 -I
"""The mesh task: registers a service with Consul, runs its Envoy, and deregisters it.

    sidecar.py DEFINITION

DEFINITION is a Consul service definition (JSON) with a ``sidecar_service``. It is checked first,
and everything wrong with it is said at once. The checks ``SERVICE_ID-socket`` and
``SERVICE_ID-envoy``, both TTL, are kept passing while the service's socket is there and Envoy is
ready; neither connects to the socket, so that a measured socket sees only its own load.

Envoy's admin interface, which shows Consul's token, is a Unix socket that only this user may open.
What Envoy runs with is written to FACTS as JSON: version, concurrency, access_log, tracing,
ciphers.

Environment: CONSUL_HTTP_ADDR, CONSUL_GRPC_ADDR, CONSUL_CACERT and CONSUL_HTTP_TOKEN, as for the
program ``consul``; SECRETS and FACTS, a private directory and the file for the facts; WORKERS,
Envoy's worker threads (default 1).

Exit code 0 after SIGTERM, 1 if Envoy or Consul fails, 2 for a definition that is refused.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

PATH_LIMIT: Final = 107  # sun_path is 108 bytes with its terminating NUL (unix(7))
CIPHER: Final = re.compile(r"^(?!cluster\.local_agent\.).*ssl\.ciphers\.(\S+): [1-9]", re.M)
MODE: Final = re.compile(r"0[0-7]{3}")
DRAIN_S: Final = "5"  # Envoy's default lets a denied connection live for ten minutes
STARTING_S: Final = 0.25
WAITING_S: Final = 1.0  # until traffic has shown which cipher is spoken
RUNNING_S: Final = 10.0  # a third of the checks' TTL
CONSUL_S: Final = 5.0
ADMIN_S: Final = 2.0
UNKNOWN_CHECK: Final = "Unknown check ID"  # as Consul's agent answers, with 404


def path_findings(where: str, path: str) -> Iterator[str]:
    """Yield what is wrong with a Unix socket's path, as this task sees the file system."""
    if not path.startswith("/"):
        yield f"{where}: {path!r} is not absolute"
        return
    if (size := len(path.encode())) > PATH_LIMIT:
        yield f"{where}: {size} bytes; a Unix socket's path has at most {PATH_LIMIT}: shorten it"
    folder = Path(path).parent
    if not folder.is_dir():
        yield f"{where}: no directory {folder} in this task: make it first, or use /alloc/tmp"
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        yield f"{where}: {path} exists and is no socket: remove it"


def upstream_findings(upstreams: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the upstreams: where each listens, and with which mode."""
    taken: dict[object, str] = {}
    for upstream in upstreams:
        name = str(upstream.get("destination_name", ""))
        where = f"upstream {name or '?'}"
        if not name:
            yield f"{where}: destination_name is missing: name the service"
        path, port = upstream.get("local_bind_socket_path"), upstream.get("local_bind_port")
        if (path is None) == (port is None):
            yield f"{where}: expected exactly one of local_bind_socket_path and local_bind_port"
            continue
        if path is not None:
            yield from path_findings(f"{where}: local_bind_socket_path", str(path))
            mode = str(upstream.get("local_bind_socket_mode", ""))
            if not MODE.fullmatch(mode):
                yield (
                    f"{where}: local_bind_socket_mode {mode!r}: expected four octal digits, the "
                    "first a zero, as in '0660' (Consul reads '660' as decimal)"
                )
        key = path if path is not None else port
        if key in taken:
            yield f"{where}: listens at {key}, and so does upstream {taken[key]}: give each its own"
        taken.setdefault(key, name)


def findings(document: Any) -> list[str]:
    """Return everything wrong with a definition; empty if it can be registered."""
    service = document.get("service") if isinstance(document, dict) else None
    if not isinstance(service, dict):
        return ["expected an object with the key 'service'"]
    found = [f"service: {key} is missing" for key in ("id", "name") if not service.get(key)]
    if "socket_path" in service:
        if "port" in service:
            found.append("service: expected one of socket_path and port, not both")
        found += path_findings("service: socket_path", str(service["socket_path"]))
    sidecar = (service.get("connect") or {}).get("sidecar_service")
    if not isinstance(sidecar, dict):
        return [*found, "service: connect.sidecar_service is missing: nothing to run Envoy for"]
    upstreams = (sidecar.get("proxy") or {}).get("upstreams") or []
    return [*found, *upstream_findings(upstreams)]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ADMIN_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ADMIN_S)
        self.sock.connect(self._path)


def ask(connection: http.client.HTTPConnection, method: str, path: str, **headers: str) -> bytes:
    """One request; the body of a 200. Raises ``OSError`` for anything else."""
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{path}: {error!r}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise OSError(f"{path}: status {answer.status} {body[:200]!r}")
    return body


def tell_consul(path: str) -> None:
    """PUT to the local agent, its certificate verified."""
    parts = urlsplit(os.environ["CONSUL_HTTP_ADDR"])
    context = ssl.create_default_context(cafile=os.environ["CONSUL_CACERT"])
    connection = http.client.HTTPSConnection(parts.netloc, timeout=CONSUL_S, context=context)
    ask(connection, "PUT", path, **{"X-Consul-Token": os.environ["CONSUL_HTTP_TOKEN"]})


def contains_key(document: Any, key: str) -> bool:
    """Whether ``key`` stands anywhere in the document with something in it."""
    if isinstance(document, dict):
        return bool(document.get(key)) or any(contains_key(one, key) for one in document.values())
    return isinstance(document, list) and any(contains_key(one, key) for one in document)


class Sidecar:
    """One Envoy and the registration that it belongs to."""

    def __init__(self, definition: Path) -> None:
        self.definition = definition
        self.document = json.loads(definition.read_text())
        self.id = str(self.document["service"]["id"])
        self.secrets = Path(os.environ["SECRETS"])
        self.admin = self.secrets / "admin.sock"
        self.envoy: subprocess.Popen[bytes] | None = None
        self.registered = False
        self.stopping = False

    def register(self) -> None:
        """Register the service and its sidecar with the local agent."""
        done = subprocess.run(
            ["consul", "services", "register", str(self.definition)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(
                f"Consul refuses the registration: {done.stderr.strip() or done.stdout.strip()}"
            )
        self.registered = True

    def register_again(self, said: str) -> None:
        """Register anew where Consul has dropped it: it drops what was critical for a minute.

        That happens to an Envoy that starts slowly, and the agent may have lost its data.
        """
        if UNKNOWN_CHECK not in said:
            return
        try:
            self.register()
        except OSError as error:
            print(f"sidecar: {error}", file=sys.stderr, flush=True)

    def bootstrap(self) -> Path:
        """Write Envoy's bootstrap as Consul makes it, but with a private admin socket."""
        done = subprocess.run(
            ["consul", "connect", "envoy", "-proxy-id", f"{self.id}-sidecar-proxy", "-bootstrap"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(f"consul connect envoy: {done.stderr.strip()}")
        document = json.loads(done.stdout)
        document["admin"]["address"] = {"pipe": {"path": str(self.admin), "mode": 0o600}}
        path = self.secrets / "bootstrap.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path

    def start(self) -> None:
        """Start Envoy."""
        workers = os.environ.get("WORKERS", "1")
        self.envoy = subprocess.Popen(
            ["envoy", "-c", str(self.bootstrap()), "--concurrency", workers, "-l", "warn",
             "--drain-time-s", DRAIN_S, "--disable-hot-restart"]
        )  # fmt: skip

    def ready(self) -> bool:
        """Whether Envoy says that it is."""
        try:
            return ask(UnixConnection(str(self.admin)), "GET", "/ready").strip() == b"LIVE"
        except OSError:
            return False

    def socket_there(self) -> bool:
        """Whether the service's socket is there; true for a service without one."""
        path = self.document["service"].get("socket_path")
        try:
            return path is None or stat.S_ISSOCK(Path(path).stat().st_mode)
        except OSError:
            return False

    def write_facts(self) -> bool:
        """Write what Envoy runs with, whole or not at all; say whether the ciphers are known."""
        info = json.loads(ask(UnixConnection(str(self.admin)), "GET", "/server_info"))
        config = json.loads(ask(UnixConnection(str(self.admin)), "GET", "/config_dump"))
        stats = ask(UnixConnection(str(self.admin)), "GET", "/stats?filter=ssl.ciphers").decode()
        listeners = [
            one for one in config["configs"] if one["@type"].endswith("ListenersConfigDump")
        ]
        facts = {
            "version": info["version"].split("/")[1],
            "concurrency": info["command_line_options"]["concurrency"],
            "access_log": contains_key(listeners, "access_log"),
            "tracing": contains_key(config, "tracing"),
            # What is spoken with other sidecars; local_agent is Consul, which configures this one.
            "ciphers": sorted(set(CIPHER.findall(stats))),
        }
        path = Path(os.environ["FACTS"])
        path.with_suffix(".new").write_text(json.dumps(facts))
        path.with_suffix(".new").rename(path)
        return bool(facts["ciphers"])

    def tick(self) -> float:
        """Renew both checks and the facts; return the seconds until the next time."""
        ready, there = self.ready(), self.socket_there()
        for check, passing in (("envoy", ready), ("socket", there)):
            tell_consul(f"/v1/agent/check/{'pass' if passing else 'fail'}/{self.id}-{check}")
        settled = ready and self.write_facts()
        if not (ready and there):
            return STARTING_S
        return RUNNING_S if settled else WAITING_S

    def run(self) -> int:
        """Serve until SIGTERM or Envoy's end."""
        assert self.envoy is not None  # noqa: S101 (told to mypy)
        pause = STARTING_S
        while not self.stopping:
            try:
                pause = self.tick()
            except OSError as error:
                print(f"sidecar: {error}", file=sys.stderr, flush=True)
                self.register_again(str(error))
            # A signal ends the wait: the handler stops Envoy.
            try:
                code = self.envoy.wait(pause)
            except subprocess.TimeoutExpired:
                continue
            if not self.stopping:
                print(f"sidecar: Envoy ended with code {code}", file=sys.stderr, flush=True)
            return 0 if self.stopping else 1
        return 0

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Deregister first, so that nobody is sent here any more, then end Envoy."""
        self.stopping = True
        self.deregister()
        if self.envoy is not None:
            self.envoy.terminate()

    def deregister(self) -> None:
        """Take the registration back, the sidecar's with it."""
        if not self.registered:
            return
        try:
            tell_consul(f"/v1/agent/service/deregister/{self.id}")
        except OSError as error:
            print(f"sidecar: not deregistered: {error}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the mesh task."""
    if len(arguments) != 1:
        print("usage: sidecar.py DEFINITION", file=sys.stderr)
        return 2
    definition = Path(arguments[0])
    try:
        problems = findings(json.loads(definition.read_text()))
    except (OSError, ValueError) as error:
        problems = [str(error)]
    for problem in problems:
        print(f"{definition}: {problem}", file=sys.stderr)
    if problems:
        return 2
    sidecar = Sidecar(definition)
    signal.signal(signal.SIGTERM, sidecar.stop)
    signal.signal(signal.SIGINT, sidecar.stop)
    try:
        sidecar.register()
        sidecar.start()
        return sidecar.run()
    except OSError as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return 1
    finally:
        if not sidecar.stopping:
            sidecar.deregister()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
