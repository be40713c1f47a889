"""Where Nomad and Consul come from: a local repository, signed, stands in for the vendor's."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

pytestmark = pytest.mark.usefixtures("joining")
VERSION = "9.9.9"
PLAYBOOK = """
- name: One binary
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles:
    - role: hashicorp_binary
      vars:
        hashicorp_binary_product: nomad
        hashicorp_binary_version: 9.9.9
"""


@dataclass
class Vendor:
    """A signed Debian repository with one package, and its key's fingerprint."""

    folder: Path
    home: Path
    fingerprint: str

    def gpg(self, *arguments: str) -> str:
        quiet = ("--batch", "--yes", "--passphrase", "")
        done = subprocess.run(
            ["gpg", "--homedir", str(self.home), *quiet, *arguments],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def publish(self) -> None:
        """Build the package, index it, sign the index."""
        root = self.folder / "build"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/nomad").write_text(f"#!/bin/sh\necho Nomad v{VERSION}\n")
        (root / "usr/bin/nomad").chmod(0o755)
        control = f"Package: nomad\nVersion: {VERSION}-1\nArchitecture: amd64\n"
        control += "Maintainer: nobody <nobody@example.invalid>\nDescription: stands in\n"
        (root / "DEBIAN/control").write_text(control)
        package = self.folder / "pool" / "nomad.deb"
        package.parent.mkdir()
        subprocess.run(["dpkg-deb", "-b", str(root), str(package)], check=True, capture_output=True)
        data = package.read_bytes()
        index = control + f"Filename: pool/nomad.deb\nSize: {len(data)}\n"
        index += f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        place = self.folder / "dists/bookworm/main/binary-amd64"
        place.mkdir(parents=True)
        (place / "Packages").write_text(index)
        (place / "Packages.gz").write_bytes(gzip.compress(index.encode()))
        self.sign()
        (self.folder / "gpg").write_text(self.gpg("--armor", "--export", self.fingerprint))

    def sign(self) -> None:
        suite = self.folder / "dists/bookworm"
        lines = ["Origin: stand-in", "Suite: bookworm", "Codename: bookworm"]
        lines += ["Architectures: amd64", "Components: main", "SHA256:"]
        for path in sorted((suite / "main/binary-amd64").iterdir()):
            data = path.read_bytes()
            name = path.relative_to(suite)
            lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}")
        (suite / "Release").write_text("\n".join([*lines, ""]))
        key = ("--local-user", self.fingerprint)
        release = str(suite / "Release")
        self.gpg(*key, "--clearsign", "--output", str(suite / "InRelease"), release)


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    one = Vendor(tmp_path / "repository", home, "")
    one.folder.mkdir()
    one.gpg("--quick-generate-key", "vendor@example.invalid", "ed25519", "sign", "never")
    listed = one.gpg("--with-colons", "--list-keys")
    one.fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line[:3] == "fpr")
    one.publish()
    yield one
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


def obtain(vendor: Vendor, tmp_path: Path, fingerprint: str) -> tuple[int, str, Path]:
    """Run the role where there is neither a cache, nor an installation, nor a Go."""
    play = tmp_path / "play.yml"
    play.write_text(PLAYBOOK)
    cache = tmp_path / "cache"
    done = subprocess.run(
        ["ansible-playbook", str(play), "-e", f"hashicorp_binary_repository=file://{vendor.folder}",
         "-e", f"hashicorp_binary_key_fingerprint={fingerprint}"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**ENVIRONMENT, "XDG_CACHE_HOME": str(cache), "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
             "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    return done.returncode, done.stdout, cache / "socklab/bin" / f"nomad-{VERSION}-linux-amd64"


@pytest.fixture(autouse=True)
def only_here() -> None:
    assert os.uname().machine == "x86_64", "the stand-in's package is for amd64"


def test_the_vendors_package_is_taken(vendor: Vendor, tmp_path: Path) -> None:
    code, said, binary = obtain(vendor, tmp_path, vendor.fingerprint)
    assert code == 0, said
    assert subprocess.run([binary], capture_output=True, text=True, check=True).stdout == (
        f"Nomad v{VERSION}\n"
    )


def test_another_key_is_refused_and_all_three_sources_are_named(
    vendor: Vendor, tmp_path: Path
) -> None:
    code, said, binary = obtain(vendor, tmp_path, "0" * 40)
    assert code != 0
    assert not binary.exists()
    words = " ".join(said.split())
    assert f"No nomad {VERSION} to be had" in words
    for source in ("(1) an existing installation", "(2) the vendor's package", "(3) Go"):
        assert source in words
    assert "only 0000000000000000000000000000000000000000 is accepted" in words


@pytest.mark.parametrize("what", ["package", "index", "unsigned"])
def test_what_was_changed_after_signing_is_refused(
    vendor: Vendor, tmp_path: Path, what: str
) -> None:
    suite = vendor.folder / "dists/bookworm"
    if what == "package":
        path = vendor.folder / "pool/nomad.deb"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif what == "index":
        for path in (suite / "main/binary-amd64").iterdir():
            path.write_bytes(path.read_bytes() + b"\n")
    else:
        (suite / "InRelease").unlink()
    code, said, binary = obtain(vendor, tmp_path, vendor.fingerprint)
    assert code != 0
    assert not binary.exists()
    assert f"No nomad {VERSION} to be had" in " ".join(said.split())
