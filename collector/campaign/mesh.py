"""Consul, as the engine uses it: who may talk to whom in a deployment, and what is left behind.

The mesh denies everything (role ``mesh``). A deployment's job registers its own services, its ends:
``JOB-client`` and ``JOB-server``, or one for each service of a chain; the engine allows the edges
between neighbours before the job runs, and takes them away after. Its token reaches names that
begin with the engine's prefix, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import consul
import requests
import stamina
from consul.exceptions import ACLDisabled, ACLPermissionDenied, BadRequest, ConsulException

from collector.campaign.cluster import PREFIX, read_environment
from collector.campaign.errors import BlockFailed, NotReadyError

PATIENCE_S: Final = 45.0
ANSWER_S: Final = 5.0
INTENTIONS: Final = "service-intentions"
ENDS: Final = ("client", "server")


class Mesh:
    """Consul's servers with the engine's token, TLS verified."""

    def __init__(self, state: Path) -> None:
        environment = read_environment(state)
        if "CONSUL_HTTP_ADDR" not in environment:
            raise NotReadyError(
                "a mesh is asked for, and this cluster has no Consul (none in "
                f"{state / 'lab.env'}). Make it: ansible-playbook lab.yml --tags cluster"
            )
        address = urlsplit(environment["CONSUL_HTTP_ADDR"])
        self._token, self._ca = environment["CONSUL_HTTP_TOKEN"], environment["CONSUL_CACERT"]
        self._servers = self._client(str(address.hostname), address.port or 443)

    def _client(self, host: str, port: int) -> consul.Consul:
        client = consul.Consul(
            host=host, port=port, scheme="https", verify=self._ca, connections_timeout=ANSWER_S
        )
        # Not by argument: there CONSUL_HTTP_TOKEN, which may be another cluster's, has its way.
        client.token = self._token
        return client

    def check(self) -> None:
        """Refuse to start without a mesh; ``NotReadyError`` says what is missing."""
        with _explained():
            denied = _patiently(self._servers.config.list, INTENTIONS)
        if not any(entry["Name"] == "*" for entry in denied or []):
            raise NotReadyError(
                "the experiment asks for a mesh, and this cluster has none (no intention for '*'). "
                "Make it: ansible-playbook lab.yml --tags cluster"
            )

    def members(self) -> set[str]:
        """Return the hosts that Consul's catalog has."""
        with _explained():
            _, listed = _patiently(self._servers.catalog.nodes)
        return {str(one["Node"]) for one in listed}

    def allow(self, identity: str, ends: Sequence[str] = ENDS) -> None:
        """Let each end of a deployment talk to the next one, and to nobody else."""
        with _explained():
            for source, destination in pairwise(ends):
                _patiently(
                    self._servers.config.set,
                    INTENTIONS,
                    f"{identity}-{destination}",
                    {
                        "Sources": [{"Name": f"{identity}-{source}", "Action": "allow"}],
                        "Meta": {"managed-by": "socklab"},
                    },
                )

    def forbid(self, identity: str, ends: Sequence[str] = ENDS) -> None:
        """Take the deployment's edges away; nothing happens where there are none."""
        for destination in ends[1:]:
            self._forbid(f"{identity}-{destination}")

    def forbid_left(self) -> None:
        """Take away every edge that an engine has left or uses."""
        with _explained():
            entries = _patiently(self._servers.config.list, INTENTIONS) or []
        for entry in entries:
            if entry["Name"].startswith(PREFIX):
                self._forbid(entry["Name"])

    def _forbid(self, service: str) -> None:
        with _explained():
            _patiently(self._servers.config.delete, INTENTIONS, service)

    def _registered(self, service: str) -> list[dict[str, Any]]:
        """Return the instances of a service, as the catalog has them."""
        with _explained():
            _, listed = _patiently(self._servers.catalog.service, service)
        return list(listed)

    def registered_on(self) -> set[str]:
        """Return the hosts whose agents have services of the engine's, as the catalog has them."""
        with _explained():
            _, names = _patiently(self._servers.catalog.services)
        ours = [name for name in names if name.startswith(PREFIX)]
        return {str(one["Node"]) for name in ours for one in self._registered(name)}

    def listener(self, identity: str) -> tuple[str, int]:
        """Return where the Envoy of a deployment's server listens for the mesh."""
        name = f"{identity}-server-sidecar-proxy"
        if not (listed := self._registered(name)):
            raise BlockFailed(f"{name} is not registered in Consul")
        return str(listed[0]["ServiceAddress"]), int(listed[0]["ServicePort"])

    def sweep(self, host: str, port: int) -> list[str]:
        """Deregister the engine's services that one host's agent still has; return their ids.

        ``host``, ``port``: where the agent is reached. A sidecar that was killed leaves its
        registration; Consul would drop it only after its checks' minute.
        """
        client = self._client(host, port)
        swept = []
        # The client's own close does nothing, and a tunnel whose session stays open ends late.
        with _explained(), closing(client.http.session):
            services = _patiently(client.agent.services)
            for one, body in services.items():
                if str(body["Service"]).startswith(PREFIX):
                    _patiently(client.agent.service.deregister, one)
                    swept.append(one)
        return swept

    def diagnose(self, identity: str, ends: Sequence[str]) -> list[str]:
        """Say what in the mesh keeps a deployment from answering; empty if nothing is seen."""
        found = []
        for end in ends:
            if not self._registered(f"{identity}-{end}"):
                found.append(f"no instance of service {identity}-{end} is registered in Consul")
        with _explained():
            for end in ends:
                _, checks = _patiently(self._servers.health.checks, f"{identity}-{end}")
                found += [
                    f"check {check['Name']!r} of {identity}-{end} on {check['Node']} is "
                    f"{check['Status']}"
                    for check in checks
                    if check["Status"] != "passing"
                ]
            for end in ends[:-1]:
                proxies = self._registered(f"{identity}-{end}-sidecar-proxy")
                wanted = {
                    upstream["DestinationName"]
                    for proxy in proxies
                    for upstream in (proxy.get("ServiceProxy") or {}).get("Upstreams") or []
                }
                for name in sorted(wanted):
                    found += self._why_unreachable(f"{identity}-{end}", name)
        return found

    def _why_unreachable(self, source: str, destination: str) -> Iterator[str]:
        _, listed = _patiently(self._servers.catalog.service, destination)
        if not listed:
            yield f"upstream {destination} of {source} does not exist in Consul's catalog"
        if not _patiently(self._servers.connect.intentions.check, source, destination):
            yield f"no intention allows {source} to talk to {destination}"


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what Consul says into what to do."""
    try:
        yield
    except (ACLPermissionDenied, ACLDisabled) as error:
        raise NotReadyError(
            f"Consul refuses the engine's token: {error}. "
            "Make it anew: ansible-playbook lab.yml --tags cluster"
        ) from None
    except requests.exceptions.SSLError as error:
        raise NotReadyError(
            f"Consul's certificate is refused: {error}. Make the hosts' anew: remove the folders "
            "under secrets/tls in the lab's state, then ansible-playbook lab.yml --tags cluster"
        ) from None
    except (ConsulException, requests.RequestException) as error:
        raise BlockFailed(f"Consul does not answer: {error}") from None


def _passes(error: Exception) -> bool:
    """Whether asking again may help: the agent was gone, or the cluster had no leader."""
    final = (ACLPermissionDenied, ACLDisabled, BadRequest, requests.exceptions.SSLError)
    kinds = (ConsulException, requests.RequestException)
    return isinstance(error, kinds) and not isinstance(error, final)


def _patiently(function: Callable[..., Any], *arguments: Any) -> Any:
    for attempt in stamina.retry_context(on=_passes, timeout=PATIENCE_S, attempts=None):
        with attempt:
            return function(*arguments)
    raise AssertionError("a retry ends with an answer or an error")
