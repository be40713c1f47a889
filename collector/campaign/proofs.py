"""What a mesh promises, tried on the running lab before anything is measured.

Four deployments of the mesh's job are up for it: the web topology through the mesh, over direct TCP
and through socat, and the database whose two ends have no network at all. Every proof says what was
claimed, whether it held, and what was seen; nothing here decides what a campaign measures.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from collector.campaign.authority import foreign_certificate, uris_of
from collector.campaign.deployment import LOAD, Deployer, Order, Place
from collector.campaign.errors import BlockFailed
from collector.campaign.mesh import Mesh
from collector.campaign.progress import Events
from collector.campaign.remote import Remote
from collector.plan.inventory import Inventory

SCHEMA: Final = 1
NAME: Final = "proofs.json"
JOB: Final = "jobs/mesh.nomad.hcl"
UPSTREAM: Final = "/alloc/tmp/upstream.sock"
STRANGER: Final = "991"  # no user of any image
CAPTURE_S: Final = 3
BITE_S: Final = 25.0  # Envoy drains a denied connection for five seconds
ANSWER_S: Final = 5.0
PORTS: Final = {"consul": 8501, "nomad": 4646, "rpc": 8300}

DEPLOYMENTS: Final = {
    "mesh": {"workload": "web", "path": "mesh-unix"},
    "tcp": {"workload": "web", "path": "tcp"},
    "socat": {"workload": "web", "path": "socat"},
    "database": {"workload": "database", "path": "mesh-unix"},
}


@dataclass(frozen=True, slots=True)
class Proof:
    """One claim and what was seen of it."""

    name: str
    claim: str
    passed: bool
    evidence: tuple[str, ...]


class Prover:
    """Tries every claim on one pair of hosts."""

    def __init__(
        self, campaign: str, place: Place, inventory: Inventory, mesh: Mesh, deployer: Deployer,
        observers: Mapping[str, Remote], runner: Remote, events: Events,
    ) -> None:  # fmt: skip
        self._campaign = campaign
        self._place = place
        self._server = next(iter(inventory.group("servers"))).address
        self._mesh = mesh
        self._deployer = deployer
        self._observers = observers
        self._runner = runner
        self._events = events
        self._bound: dict[str, dict[str, Any]] = {}

    def prove(self) -> list[Proof]:
        """Deploy, try, stop; a claim that cannot be tried did not hold, and says why."""
        orders = [Order(name, name, "a", JOB, dict(body)) for name, body in DEPLOYMENTS.items()]
        wanted = [(order, order.identity(self._campaign, 0, 1)) for order in orders]
        try:
            self._deployer.deploy(wanted, self._place)
            for inside in (False, True):
                chosen = [
                    one
                    for one in wanted
                    if (DEPLOYMENTS[one[0].key]["workload"] == "database") is inside
                ]
                asking = self._observers[self._place.host] if inside else self._runner
                self._bound |= self._deployer.bind(
                    chosen, self._place, inside, self._observers, asking
                )
            return [self._try(*claim) for claim in self._claims()]
        finally:
            for left in self._deployer.stop([identity for _, identity in wanted]):
                self._events.tell("error", left)

    def _claims(self) -> list[tuple[str, str, Callable[[], tuple[bool, list[str]]]]]:
        return [
            (
                "no-interface",
                "Client and server have no network interface but lo, and no route.",
                self._no_interface,
            ),
            (
                "no-listener",
                "No TCP listener belongs to a service without a network.",
                self._no_listener,
            ),
            (
                "intention",
                "A denied intention makes the same client fail; allowed again, it works.",
                self._intention,
            ),
            (
                "encrypted",
                "Between the hosts the mesh shows no plaintext; direct TCP and socat do.",
                self._encrypted,
            ),
            (
                "socket-mode",
                "Another user gets EACCES on a 0660 socket; socat's TCP port lets anybody in.",
                self._socket_mode,
            ),
            (
                "strangers",
                "Plaintext, a certificate of another CA, and calls without token are refused.",
                self._strangers,
            ),
            ("identity", "The server's certificate carries its own SPIFFE id.", self._identity),
        ]

    def _try(self, name: str, claim: str, proof: Callable[[], tuple[bool, list[str]]]) -> Proof:
        try:
            passed, evidence = proof()
        except (BlockFailed, OSError) as error:
            passed, evidence = False, [f"could not be tried: {error}"]
        self._events.tell("ready", f"proof {name}: {'held' if passed else 'DID NOT HOLD'}")
        return Proof(name, claim, passed, tuple(evidence))

    def _ask(self, host: str, *arguments: str, wait_s: float = 30.0) -> dict[str, Any]:
        answer = self._observers[host].ask("prove", wait_s=wait_s, arguments=list(arguments))
        return dict(answer["seen"])

    def _without_network(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the kernel has in the network of each container that should have none."""
        for key, task in (("database", LOAD), ("database", "database"), ("mesh", "app")):
            container = self._bound[key]["containers"][task]
            yield (
                f"{container['host']} {task}",
                self._ask(container["host"], "namespace", container["id"]),
            )

    def _no_interface(self) -> tuple[bool, list[str]]:
        seen = list(self._without_network())
        return (
            all(one["interfaces"] == ["lo"] and not one["routes"] for _, one in seen),
            [
                f"{where}: interfaces {', '.join(one['interfaces'])}; {len(one['routes'])} routes"
                for where, one in seen
            ],
        )

    def _no_listener(self) -> tuple[bool, list[str]]:
        seen = list(self._without_network())
        return (
            not any(one["tcp_listeners"] for _, one in seen),
            [f"{where}: TCP listeners {one['tcp_listeners'] or 'none'}" for where, one in seen],
        )

    def _answers(self, key: str, path: str = "", limit_s: float = ANSWER_S) -> str | None:
        """Ask a deployment from the load host; None for the right answer, else what came."""
        url = self._bound[key]["endpoint"] + path
        answer = self._runner.ask("probe", wait_s=limit_s + 30, url=url, limit_s=limit_s)
        return None if answer["ready"] else str(answer["reason"])

    def _intention(self) -> tuple[bool, list[str]]:
        identity, said = self._bound["mesh"]["job"], ["allowed: the right answer"]
        self._mesh.forbid(identity)
        began = time.monotonic()
        while (wrong := self._answers("mesh", limit_s=0.3)) is None:
            if time.monotonic() - began > BITE_S:
                return False, [*said, f"denied: still answered after {BITE_S:.0f} s"]
        said.append(f"denied: {wrong} after {time.monotonic() - began:.1f} s")
        self._mesh.allow(identity)
        began = time.monotonic()
        again = self._answers("mesh", limit_s=BITE_S)
        said.append(
            f"allowed again: {again or 'the right answer'} after {time.monotonic() - began:.1f} s"
        )
        return again is None, said

    def _encrypted(self) -> tuple[bool, list[str]]:
        seen, said = {}, []
        for key in ("mesh", "tcp", "socat"):
            marker = secrets.token_hex(16)
            capture = ("capture", str(CAPTURE_S), marker)
            with ThreadPoolExecutor(1) as apart:
                listening = apart.submit(self._ask, str(self._place.peer), *capture)
                answers = []
                while not listening.done():
                    answers.append(self._answers(key, marker, limit_s=0.2))
                one = seen[key] = listening.result()
            said.append(
                f"{key}: asked {len(answers)} times ({answers[-1]}); {one['frames']} frames at "
                f"{self._place.peer}, {one['tls_frames']} with TLS records, "
                f"{one['marker_frames']} with the marker in plaintext"
            )
        return (
            not seen["mesh"]["marker_frames"]
            and seen["mesh"]["tls_frames"] > 0
            and all(seen[key]["marker_frames"] for key in ("tcp", "socat")),
            said,
        )

    def _socket_mode(self) -> tuple[bool, list[str]]:
        container = self._bound["mesh"]["containers"]["proxy"]
        owner, stranger = (
            self._ask(container["host"], "open", container["id"], uid, UPSTREAM)
            for uid in ("990", STRANGER)
        )
        url = f"http://{self._place.peer_address}:{self._port('socat')}/"
        answer = self._runner.ask("probe", wait_s=30, url=url, limit_s=ANSWER_S)
        return (
            owner["error"] is None
            and owner["mode"] == "0660"
            and stranger["error"] == "EACCES"
            and bool(answer["ready"]),
            [
                f"{UPSTREAM} has mode {owner['mode']}, owner {owner['uid']}:{owner['gid']}",
                f"user {owner['uid']}: {owner['error'] or 'connected'}",
                f"user {STRANGER}: {stranger['error'] or 'connected'}",
                f"socat at {url}, asked by {self._runner.host.name}: "
                f"{answer['reason'] or 'the right answer'}",
            ],
        )

    def _port(self, key: str) -> int:
        return self._deployer.port_of(self._bound[key]["job"])

    def _strangers(self) -> tuple[bool, list[str]]:
        address, port = self._mesh.listener(self._bound["mesh"]["job"])
        said = [
            ("plaintext to Consul's RPC", *_plaintext(self._server, PORTS["rpc"])),
            ("plaintext to the server's Envoy", *_plaintext(address, port)),
            ("another CA's certificate to Consul's RPC", *_foreign(self._server, PORTS["rpc"])),
            ("another CA's certificate to the server's Envoy", *_foreign(address, port)),
            ("Consul's API without token", *_tokenless(self._server, "consul", "/v1/agent/self")),
            ("Nomad's API without token", *_tokenless(self._server, "nomad", "/v1/jobs")),
        ]
        return all(refused for _, refused, _ in said), [
            f"{what}: {answer}" for what, _, answer in said
        ]

    def _identity(self) -> tuple[bool, list[str]]:
        identity = self._bound["mesh"]["job"]
        address, port = self._mesh.listener(identity)
        found = uris_of(_certificate(address, port))
        wanted = f"/ns/default/dc/dc1/svc/{identity}-server"
        right = len(found) == 1 and found[0].startswith("spiffe://") and found[0].endswith(wanted)
        return right, [f"{address}:{port} shows {', '.join(found) or 'no URI'}"]


def _unverified() -> ssl.SSLContext:
    # A stranger has nothing to verify with; what is looked at is the other side's refusal.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _certificate(address: str, port: int) -> bytes:
    with (
        socket.create_connection((address, port), timeout=ANSWER_S) as raw,
        _unverified().wrap_socket(raw) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def _plaintext(address: str, port: int) -> tuple[bool, str]:
    """Speak HTTP to a TLS port; (refused, what came)."""
    with socket.create_connection((address, port), timeout=ANSWER_S) as raw:
        try:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = raw.recv(64)
        except OSError as error:
            return True, str(error)
    # A TLS alert (record type 21) is a refusal as well.
    return not data or data[0] == 21, repr(data[:16]) if data else "closed"


def _foreign(address: str, port: int) -> tuple[bool, str]:
    """Show a certificate that the lab's CA has not signed; (refused, what came)."""
    with tempfile.TemporaryDirectory(prefix="socklab-proof-") as folder:
        context = _unverified()
        context.load_cert_chain(*foreign_certificate(Path(folder), "stranger"))
        try:
            with (
                socket.create_connection((address, port), timeout=ANSWER_S) as raw,
                context.wrap_socket(raw) as wrapped,
            ):
                # TLS 1.3 ends the client's handshake before the server has judged: ask for bytes.
                wrapped.sendall(b"\x00" * 16)
                data = wrapped.recv(16)
        except OSError as error:
            return True, str(error)
    return not data, repr(data) if data else "closed"


def _tokenless(address: str, which: str, path: str) -> tuple[bool, str]:
    with (
        socket.create_connection((address, PORTS[which]), timeout=ANSWER_S) as raw,
        _unverified().wrap_socket(raw) as wrapped,
    ):
        wrapped.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        status = wrapped.recv(4096).split(b"\r\n")[0].decode("ascii", "replace")
    return " 403" in status or " 401" in status, status


def write_proofs(folder: Path, campaign: str, proofs: Sequence[Proof]) -> None:
    """Put the proofs beside the plan, whole or not at all."""
    body = {
        "schema": SCHEMA,
        "campaign": campaign,
        "made_wall_s": round(time.time(), 3),
        "proofs": [asdict(proof) for proof in proofs],
    }
    draft = folder / f"{NAME}.part"
    with draft.open("w") as stream:
        stream.write(json.dumps(body, indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(folder / NAME)
