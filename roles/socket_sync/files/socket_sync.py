#!/usr/bin/python3 -I
"""Make Consul services of the host's labelled systemd socket units, once; a timer repeats it.

Input: systemd's active socket units. One is labelled by a section of its unit file or drop-ins,
which systemd itself ignores::

    [X-Consul]
    Service=host-echo
    Tags=first second

Output: for each, the local Consul agent has a service ``socket-UNIT`` with the unit's socket path
and a TTL check, renewed by every call. Nothing ever connects to the socket: that would start the
service behind it. What is no longer active, labelled or sound is deregistered; services that do not
carry ``managed-by`` in their meta are never touched.

A unit that is refused gets one line on stderr (unit, what was expected, how to mend it); the others
are synchronised all the same. Exit codes: 0 done, 1 a unit was refused, 2 usage or bad input, 3
systemd or Consul is not ready, 130 interrupted. Standard library only; needs no privilege.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

SYSTEMCTL = ["/usr/bin/systemctl"]
SETTINGS = Path("/etc/socklab/socket-sync")
# As in the path unit, which is deaf while this program runs.
WATCHED = [Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/run")]
MAX_LOOKS = 3
MANAGED_BY = "socklab-socket-sync"
SECTION = "X-Consul"
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MAX_PATH_BYTES = 107  # sun_path has 108, the last of them zero (unix(7))
DEREGISTER_AFTER = "1m"  # the least that Consul takes
TIMEOUT_S = 10.0


class BadInputError(Exception):
    """A setting is unusable; exit code 2."""


class NotReadyError(Exception):
    """Systemd or Consul does not do what is asked; exit code 3."""


class RefusedError(Exception):
    """One unit is unusable; the message says what was expected and how to mend it."""


@dataclass(frozen=True)
class Unit:
    """An active socket unit: addresses with their types, unit file and drop-ins in order."""

    name: str
    listen: tuple[tuple[str, str], ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Label:
    """What the section says."""

    service: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Service:
    """A service as it should be: all that is compared with what the agent has."""

    name: str
    path: str
    unit: str
    tags: tuple[str, ...]
    ttl_s: int
    token_written: int

    @property
    def id(self) -> str:
        """Id in Consul, by the unit: a service may have several."""
        return f"socket-{self.unit}"

    @property
    def meta(self) -> dict[str, str]:
        """Ours by ``managed-by``. A new TTL or token makes a difference, hence a registration."""
        return {
            "managed-by": MANAGED_BY,
            "systemd-unit": self.unit,
            "ttl-s": str(self.ttl_s),
            "token-written": str(self.token_written),
        }


@dataclass(frozen=True)
class Action:
    """What to do about one service: ``register``, ``renew`` or ``deregister``."""

    verb: str
    id: str
    service: Service | None = None

    def __str__(self) -> str:
        if self.service is None:
            return f"{self.verb} {self.id}"
        return f"{self.verb} {self.id}: {self.service.name} at {self.service.path}"


# What systemd has


def ask_systemd(*arguments: str) -> str:
    """Run ``systemctl``; raises NotReadyError with its own words."""
    command = f"systemctl {arguments[0]}"
    try:
        done = subprocess.run(
            [*SYSTEMCTL, "--no-pager", *arguments],
            env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=False, timeout=TIMEOUT_S,
            encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotReadyError(f"{command}: {error}") from None
    if done.returncode != 0:
        raise NotReadyError(f"{command} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def list_units() -> list[Unit]:
    """Ask for every active socket unit."""
    listed = ask_systemd("list-units", "--type=socket", "--state=active", "--output=json")
    try:
        names = [str(unit["unit"]) for unit in json.loads(listed)]
    except (ValueError, TypeError, KeyError) as error:
        raise NotReadyError(f"systemctl list-units: expected units as JSON: {error!r}") from None
    if not names:
        return []
    wanted = "--property=Id,ActiveState,FragmentPath,DropInPaths,Listen"
    return parse_shown(ask_systemd("show", wanted, "--", *names))


def parse_shown(text: str) -> list[Unit]:
    """Units out of the blocks that ``systemctl show`` prints; those no longer active are left out.

    >>> parse_shown("Id=a.socket\\nActiveState=active\\nListen=/run/a.sock (Stream)\\n")
    [Unit(name='a.socket', listen=(('/run/a.sock', 'Stream'),), files=())]
    """
    found = []
    for block in filter(None, text.strip("\n").split("\n\n")):
        lines = [line.partition("=")[::2] for line in block.split("\n")]
        values = dict(lines)
        if values.get("ActiveState") != "active":
            continue
        listen = [value.rpartition(" (") for key, value in lines if key == "Listen"]
        paths = [values.get("FragmentPath", ""), *split_quoted(values.get("DropInPaths", ""))]
        found.append(
            Unit(
                name=values["Id"],
                listen=tuple((address, kind.rstrip(")")) for address, _, kind in listen),
                files=tuple(Path(path) for path in paths if path),
            )
        )
    return found


def split_quoted(text: str) -> list[str]:
    """Words of a list as systemctl (252) prints it; a single path it prints as it is.

    >>> split_quoted('/a.conf "/b c.conf"')
    ['/a.conf', '/b c.conf']
    """
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted) or plain for quoted, plain in words]


# What a unit's files say


def read_unit_file(path: Path) -> str:
    """Text of a file, empty if it is gone (a unit stays active without its file)."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise RefusedError(
            f"{path} cannot be read ({reason}); expected a text that everybody may read, to see"
            f" whether it has [{SECTION}]: chmod a+r"
        ) from None


def section_lines(text: str) -> list[str] | None:
    """Lines of our section, without comments, continued lines joined; None without a section."""
    found: list[str] | None = None
    inside, pending = False, ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or not (line or pending):
            continue
        line = pending + line
        if line.endswith("\\"):
            pending = line[:-1].rstrip() + " "
            continue
        pending = ""
        if line.startswith("["):
            inside = line == f"[{SECTION}]"
            found = found or [] if inside else found
        elif inside and found is not None and line.strip():
            found.append(line.strip())
    return found


def parse_label(texts: Iterable[str]) -> Label | None:
    """The label that unit file and drop-ins make together, as systemd would: the last one counts.

    An empty ``Service=`` takes the label away, an empty ``Tags=`` the tags so far. Raises
    RefusedError for a section without a service, and for a line that is not understood.
    """
    sections = [lines for text in texts if (lines := section_lines(text)) is not None]
    service: str | None = None
    tags: list[str] = []
    for line in (line for lines in sections for line in lines):
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "Service" and equals:
            service = value
        elif key == "Tags" and equals:
            tags = [*tags, *value.split()] if value else []
        else:
            raise RefusedError(
                f"[{SECTION}] has {line!r}; expected Service=NAME or Tags=WORDS: mend that line"
            )
    if sections and service is None:
        raise RefusedError(
            f"[{SECTION}] has no Service=; expected the service's name: add it, or remove the"
            " section"
        )
    return Label(service, tuple(dict.fromkeys(tags))) if service else None


def check_name(name: str, prefix: str) -> str:
    """Give back the service's name; refuses what Consul or this host's token would not take."""
    if not LABEL.fullmatch(name):
        raise RefusedError(
            f"Service={name!r} is no RFC 1123 label; expected 1 to 63 of a-z, 0-9 and inner"
            " hyphens: rename the service"
        )
    if not name.startswith(prefix):
        raise RefusedError(
            f"Service={name!r} does not begin with {prefix!r}; this host may register no other"
            f" names: call it {prefix + name!r}"
        )
    return name


def check_path(unit: Unit) -> str:
    """Give back the path of the unit's one stream socket; refuses everything else."""
    expected = "expected one ListenStream=/absolute/path"
    where = ", ".join(f"{address} ({kind})" for address, kind in unit.listen)
    if len(unit.listen) != 1:
        raise RefusedError(
            f"listens at {len(unit.listen)} addresses ({where}); {expected}: give each socket a"
            " unit of its own"
        )
    ((path, kind),) = unit.listen
    if kind != "Stream" or not path.startswith("/"):
        raise RefusedError(
            f"listens at {where}; {expected}: change it, or remove [{SECTION}] and register the"
            " service with its port"
        )
    if not path.isprintable():
        raise RefusedError(f"listens at {path!a}; expected printable UTF-8: rename the socket")
    if (size := len(path.encode())) > MAX_PATH_BYTES:
        raise RefusedError(
            f"listens at {path}, which has {size} bytes; a Unix socket's path has at most"
            f" {MAX_PATH_BYTES}: choose a shorter one"
        )
    return path


@dataclass(frozen=True)
class Terms:
    """What every service has in common."""

    prefix: str
    ttl_s: int
    token_written: int


def want(
    units: Iterable[Unit], terms: Terms, read: Callable[[Path], str] = read_unit_file
) -> tuple[list[Service], list[str]]:
    """Services that there should be, and one line for each unit that is refused."""
    wanted, refused = [], []
    for unit in units:
        try:
            label = parse_label([read(path) for path in unit.files])
            if label is not None:
                name, path = check_name(label.service, terms.prefix), check_path(unit)
                wanted.append(
                    Service(name, path, unit.name, label.tags, terms.ttl_s, terms.token_written)
                )
        except RefusedError as error:
            refused.append(f"{unit.name}: {error}")
    taken = Counter(service.path for service in wanted)
    for service in (one for one in wanted if taken[one.path] > 1):
        others = [one.unit for one in wanted if one.path == service.path and one is not service]
        refused.append(
            f"{service.unit}: listens at {service.path}, as {', '.join(others)} does; expected one"
            " unit a path: change ListenStream= of all but one"
        )
    return [service for service in wanted if taken[service.path] == 1], refused


def reconcile(
    wanted: Sequence[Service], present: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Action], list[str]]:
    """Actions that lead from what the agent has to what is wanted, and refusals.

    ``present`` is the agent's answer, services by id. Those of others are never acted upon.
    """
    ours = {
        one for one in present if (present[one].get("Meta") or {}).get("managed-by") == MANAGED_BY
    }
    actions, refused = [], []
    for service in wanted:
        if service.id in present and service.id not in ours:
            refused.append(
                f"{service.unit}: Consul has a service {service.id} that something else made;"
                " expected that id to be free: deregister that service, or rename the unit"
            )
            continue
        same = service.id in ours and is_same(service, present[service.id])
        actions.append(Action("renew" if same else "register", service.id, service))
    gone = sorted(ours - {service.id for service in wanted})
    return [*(Action("deregister", one) for one in gone), *actions], refused


def is_same(service: Service, present: Mapping[str, Any]) -> bool:
    """Whether the agent has the service just so."""
    has = [present.get(key) for key in ("Service", "SocketPath", "Meta")]
    tags = tuple(present.get("Tags") or ())
    return has == [service.name, service.path, service.meta] and tags == service.tags


# What Consul has


class Agent:
    """The local Consul agent, over HTTPS with its CA verified: nobody else gets the token."""

    def __init__(self, address: str, ca: Path, token: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except (OSError, ssl.SSLError) as error:
            raise BadInputError(f"{ca}: {error}; expected the lab's CA in PEM") from None
        self._address, self._token = address, token
        self._connection = http.client.HTTPSConnection(
            host, int(port), timeout=TIMEOUT_S, context=context
        )

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service that the token may see, by id."""
        status, text = self._call("GET", "/v1/agent/services")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if status != http.HTTPStatus.OK or not isinstance(found, dict):
            raise NotReadyError(
                f"Consul at {self._address} says {status}; expected services by id: {text[:200]!r}"
            )
        return found

    def do(self, action: Action) -> None:
        """Carry out one action; raises RefusedError if Consul will not, with Consul's words."""
        if action.service is None:
            self._put(f"/v1/agent/service/deregister/{quote(action.id, safe='')}", gone_ok=True)
        elif action.verb == "register" or not self._renew(action.service):
            self._put(
                "/v1/agent/service/register?replace-existing-checks=true",
                registration(action.service),
            )

    def _renew(self, service: Service) -> bool:
        """Say that the service lives; False if Consul has lost the check."""
        body = {"Status": "passing", "Output": f"systemd: {service.unit} is active"}
        where = f"/v1/agent/check/update/{quote('service:' + service.id, safe='')}"
        return self._put(where, body, gone_ok=True)

    def _put(self, path: str, body: object = None, *, gone_ok: bool = False) -> bool:
        status, text = self._call("PUT", path, body)
        if status == http.HTTPStatus.NOT_FOUND and gone_ok:
            return False
        if status != http.HTTPStatus.OK:
            raise RefusedError(f"Consul says {status}: {text.strip()}")
        return True

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        try:
            self._connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"X-Consul-Token": self._token},
            )
            reply = self._connection.getresponse()
            status, text = reply.status, reply.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise NotReadyError(f"Consul at {self._address} does not answer: {error}") from None
        if status == http.HTTPStatus.FORBIDDEN:
            raise NotReadyError(f"Consul at {self._address} refuses the token: {text.strip()}")
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NotReadyError(f"Consul at {self._address} says {status}: {text.strip()}")
        return status, text


def registration(service: Service) -> dict[str, Any]:
    """What ``PUT /v1/agent/service/register`` takes; its check is ``service:ID`` by default."""
    return {
        "ID": service.id,
        "Name": service.name,
        "SocketPath": service.path,
        "Tags": list(service.tags),
        "Meta": service.meta,
        "Check": {
            "Name": "systemd says that the socket is active",
            "TTL": f"{service.ttl_s}s",
            "Status": "passing",
            "DeregisterCriticalServiceAfter": DEREGISTER_AFTER,
        },
    }


# The program


def read_token(path: Path) -> tuple[str, int]:
    """The token, and when its file was written (seconds since 1970)."""
    try:
        state, token = path.stat(), path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: {error}; expected a Consul token") from None
    if state.st_mode & 0o077:
        raise BadInputError(f"{path}: others may read this token; expected mode 0600: chmod 0600")
    if not re.fullmatch(r"[0-9A-Za-z-]+", token):
        raise BadInputError(f"{path}: expected one Consul token and nothing else")
    return token, int(state.st_mtime)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line; ends with exit code 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="socket-sync", description="Make Consul services of labelled systemd socket units."
    )
    parser.add_argument("--address", default="127.0.0.1:8501", help="the agent's HTTPS API")
    parser.add_argument("--ca", type=Path, default=SETTINGS / "ca.pem", help="CA of the agent")
    parser.add_argument("--token", type=Path, default=SETTINGS / "token", help="file, mode 0600")
    parser.add_argument("--prefix", default="host-", help="with which every service begins")
    parser.add_argument("--ttl", type=int, default=30, help="seconds, 3 times the timer's period")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    options = parser.parse_args(argv)
    if not re.fullmatch(r"[^:]+:[0-9]{1,5}", options.address):
        parser.error(f"--address {options.address!r}: expected HOST:PORT")
    if options.ttl < 1:
        parser.error(f"--ttl {options.ttl}: expected 1 second or more")
    return options


def synchronise(options: argparse.Namespace) -> int:
    """Do it, and again if units came or went meanwhile; gives the exit code."""
    token, written = read_token(options.token)
    agent = Agent(options.address, options.ca, token)
    terms = Terms(options.prefix, options.ttl, written)
    said: set[str] = set()
    for _ in range(MAX_LOOKS):
        seen = last_change()
        sound = look(agent, terms, said, dry_run=options.dry_run)
        if last_change() == seen:
            break
    return 0 if sound else 1


def last_change() -> int:
    """When a unit file or a socket last came or went (ns), as far as the path unit watches."""
    return max((path.stat().st_mtime_ns for path in WATCHED if path.is_dir()), default=0)


def look(agent: Agent, terms: Terms, said: set[str], *, dry_run: bool) -> bool:
    """Look at systemd once and act; False if a unit is refused. Says no refusal twice."""
    wanted, refused = want(list_units(), terms)
    actions, taken = reconcile(wanted, agent.services())
    for line in [*refused, *taken]:  # before anything is done, which may end early
        if line not in said:
            print(line, file=sys.stderr)
    said.update(refused, taken)
    done = [carry_out(action, agent, dry_run=dry_run) for action in actions]
    return all(done) and not refused and not taken


def carry_out(action: Action, agent: Agent, *, dry_run: bool) -> bool:
    """Do it and say so; False if Consul will not have it. A renewal is not worth a line."""
    if dry_run:
        print(f"would {action}")
        return True
    try:
        agent.do(action)
    except RefusedError as error:
        print(f"{action}: {error}; expected Consul to take it: see its log", file=sys.stderr)
        return False
    if action.verb != "renew":
        print(action)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Synchronise once; exit codes as at the top."""
    try:
        return synchronise(parse_arguments(argv))
    except BadInputError as error:
        print(f"socket-sync: {error}", file=sys.stderr)
        return 2
    except NotReadyError as error:
        print(f"socket-sync: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
