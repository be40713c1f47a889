"""The action plugin that pushes images: names, lists, and a registry that is not there."""

from __future__ import annotations

import importlib.util
import json
import shutil
from email.message import Message
from pathlib import Path
from types import ModuleType

import certifi
import pytest
from ansible.errors import AnsibleActionFail

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "action" / "push_images.py"
AMD, ARM = "localhost/socklab/app:aaaa", "localhost/socklab/app:bbbb"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("push_images", PLUGIN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tag_names_what_is_in_it(plugin: ModuleType) -> None:
    assert plugin.tag_of({"amd64": AMD}) == "aaaa"
    both = plugin.tag_of({"amd64": AMD, "arm64": ARM})
    assert both == plugin.tag_of({"arm64": ARM, "amd64": AMD})
    assert both not in ("aaaa", "bbbb") and len(both) == 16


def described(kind: str, digest: str, size: int) -> Message:
    headers = Message()
    headers["Content-Type"] = kind
    headers["Docker-Content-Digest"] = digest
    headers["Content-Length"] = str(size)
    return headers


@pytest.mark.parametrize(
    ("arm", "kind"),
    [
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"),
        (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ),
    ],
)
def test_list_names_each_architecture(plugin: ModuleType, arm: str, kind: str) -> None:
    amd = described("application/vnd.oci.image.manifest.v1+json", "sha256:1", 700)
    found, content = plugin.index_of({"amd64": amd, "arm64": described(arm, "sha256:2", 701)})
    assert found == kind
    listed = json.loads(content)
    assert (listed["schemaVersion"], listed["mediaType"]) == (2, kind)
    assert [
        (one["platform"]["architecture"], one["digest"], one["size"], one["mediaType"])
        for one in listed["manifests"]
    ] == [("amd64", "sha256:1", 700, amd["Content-Type"]), ("arm64", "sha256:2", 701, arm)]


def test_registry_that_is_not_there_is_named(plugin: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text('{"auths": {"127.0.0.1:9": {"auth": "c2VjcmV0"}}}')
    shutil.copy(certifi.where(), tmp_path / "ca.crt")
    with pytest.raises(AnsibleActionFail, match=r"^registry 127\.0\.0\.1:9: .*refused") as caught:
        plugin.Registry("127.0.0.1:9", tmp_path, False).digest("app", "aaaa")
    assert "c2VjcmV0" not in str(caught.value)
