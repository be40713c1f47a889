"""Action plugin: pushes the images that a registry does not have, several at a time.

It runs on the controller, where podman keeps the images, and connects to no host. Images of several
architectures get one name: each is tagged by what it is made of, and a list of them by all of that,
so that a host that pulls it gets its own.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()
Answer = tuple[Message, bytes]

AT_ONCE: Final = 4
ANSWER_S: Final = 60.0
OCI: Final = "application/vnd.oci.image"
DOCKER: Final = "application/vnd.docker.distribution.manifest"
ACCEPTED: Final = (
    f"{OCI}.manifest.v1+json, {OCI}.index.v1+json, {DOCKER}.v2+json, {DOCKER}.list.v2+json"
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``push_images: {registry, secrets, images, also, packed}``.

    ``registry``: HOST:PORT. ``secrets``: a folder with ``auth.json`` and ``ca.crt``. ``images``:
    name to architecture to podman's reference. ``also``: name to further tags. ``packed``: compress
    the layers on the way. Returns ``references``: name to the reference by digest, or, in check
    mode, by tag where the registry does not have it.
    """

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(("registry", "secrets", "images", "also", "packed"))

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Push what is missing; fail with what the registry or skopeo said."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        address = str(arguments["registry"])
        # Ansible's own kinds of dictionaries are not made for threads.
        images: dict[str, dict[str, str]] = json.loads(json.dumps(arguments["images"]))
        tags = {name: tag_of(of_arch) for name, of_arch in images.items()}
        digests: dict[str, str | None] = dict.fromkeys(tags)
        try:
            registry = Registry(address, Path(arguments["secrets"]), bool(arguments["packed"]))
            digests = {name: registry.digest(name, tag) for name, tag in tags.items()}
        except (OSError, KeyError, AnsibleActionFail):
            if not self._task.check_mode:  # of a lab that is not there yet nothing is pushed
                raise
        missing = sorted(name for name, digest in digests.items() if digest is None)
        if missing and not self._task.check_mode:
            display.display(f"  {len(missing)} of {len(images)} images are not in the registry")
            also = arguments.get("also") or {}
            for name, digest in _pushed(registry, {one: images[one] for one in missing}, also):
                digests[name] = digest
        references = {
            name: f"{address}/socklab/{name}" + (f"@{digest}" if digest else f":{tags[name]}")
            for name, digest in digests.items()
        }
        return {**result, "changed": bool(missing), "references": references}


def _pushed(
    registry: Registry, images: Mapping[str, Mapping[str, str]], also: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str]]:
    began = time.monotonic()
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        pushes = {
            pool.submit(registry.push, name, of_arch, also.get(name, ())): name
            for name, of_arch in images.items()
        }
        for done, push in enumerate(as_completed(pushes), 1):
            yield pushes[push], push.result()
            left_s = (time.monotonic() - began) / done * (len(pushes) - done)
            display.display(
                f"  pushed {pushes[push]}, {done} of {len(pushes)}"
                + (f"  ({left_s:.0f} s left)" if done < len(pushes) else "")
            )
    finally:
        pool.shutdown(cancel_futures=True)


def tag_of(of_arch: Mapping[str, str]) -> str:
    """What the images are made of: podman's tag, of several a hash of all."""
    references = sorted(of_arch.values())
    if len(references) == 1:
        return references[0].rpartition(":")[2]
    return hashlib.sha256(" ".join(references).encode()).hexdigest()[:16]


class Registry:
    """A registry whose certificate is of the lab's CA; errors are ``AnsibleActionFail``."""

    def __init__(self, address: str, secrets: Path, packed: bool) -> None:
        self._address = address
        self._secrets = secrets
        self._packed = packed
        known = json.loads((secrets / "auth.json").read_text())["auths"]
        self._authorization = f"Basic {known[address]['auth']}"
        self._context = ssl.create_default_context(cafile=str(secrets / "ca.crt"))

    def digest(self, name: str, tag: str) -> str | None:
        """Digest of what has this tag; None if nothing has."""
        found = self._ask("HEAD", name, tag)
        return None if found is None else found[0]["Docker-Content-Digest"]

    def push(self, name: str, of_arch: Mapping[str, str], also: Sequence[str]) -> str:
        """Push an image, all its architectures under one name; returns the digest of the name."""
        for reference in of_arch.values():
            if self.digest(name, tag_of({"": reference})) is None:
                self._copy(reference, name)
        tag = tag_of(of_arch)
        if len(of_arch) > 1:
            manifests = {
                arch: self._manifest(name, tag_of({"": reference}))[0]
                for arch, reference in sorted(of_arch.items())
            }
            self._put(name, tag, *index_of(manifests))
        described, content = self._manifest(name, tag)
        for one in also:
            self._put(name, one, described["Content-Type"], content)
        return described["Docker-Content-Digest"]

    def _copy(self, reference: str, name: str) -> None:
        # Layers lie unpacked in podman's store, and podman packs them for each registry anew: most
        # of a first converge's time. Packed they go only where the way is slow.
        done = subprocess.run(
            [
                "skopeo", "copy", "--quiet", "--retry-times=3",
                *([] if self._packed else ["--preserve-digests"]),
                f"--authfile={self._secrets}/auth.json", f"--dest-cert-dir={self._secrets}",
                f"containers-storage:{reference}",
                f"docker://{self._address}/socklab/{name}:{tag_of({'': reference})}",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise AnsibleActionFail(f"{name}: skopeo: {done.stderr.strip()[-2000:]}")

    def _manifest(self, name: str, tag: str) -> Answer:
        found = self._ask("GET", name, tag)
        if found is None:
            raise AnsibleActionFail(f"{name}:{tag}: pushed, and the registry does not have it")
        return found

    def _put(self, name: str, tag: str, kind: str, content: bytes) -> None:
        self._ask("PUT", name, tag, kind, content)

    def _ask(
        self,
        method: str,
        name: str,
        tag: str,
        kind: str | None = None,
        content: bytes | None = None,
    ) -> Answer | None:
        headers = {"Accept": ACCEPTED, "Authorization": self._authorization}
        if kind is not None:
            headers["Content-Type"] = kind
        asked = HTTPSConnection(self._address, timeout=ANSWER_S, context=self._context)
        try:
            asked.request(method, f"/v2/socklab/{name}/manifests/{tag}", content, headers)
            answer = asked.getresponse()
            said = answer.read()
        except (OSError, HTTPException) as error:
            raise AnsibleActionFail(f"registry {self._address}: {error}") from error
        finally:
            asked.close()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status >= HTTPStatus.BAD_REQUEST:
            text = said.decode("utf-8", "replace").strip()[:500]
            reason = f"{method} {name}:{tag}: {answer.status} {answer.reason} {text}"
            raise AnsibleActionFail(f"registry {self._address}: {reason}")
        return answer.headers, said


def index_of(manifests: Mapping[str, Message]) -> tuple[str, bytes]:
    """Type and content of what lists manifests; ``manifests``: architecture to answer's headers."""
    listed: list[dict[str, Any]] = [
        {
            "mediaType": described["Content-Type"],
            "digest": described["Docker-Content-Digest"],
            "size": int(described["Content-Length"]),
            "platform": {"architecture": arch, "os": "linux"},
        }
        for arch, described in manifests.items()
    ]
    oci = all(one["mediaType"].startswith(OCI) for one in listed)
    kind = f"{OCI}.index.v1+json" if oci else f"{DOCKER}.list.v2+json"
    return kind, json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": listed}).encode()
