"""What goes wrong, or is asked, where no lab is."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lab

pytestmark = pytest.mark.usefixtures("joining")


def test_an_image_that_fails_to_build_names_the_package() -> None:
    lab = Lab()
    refused = lab.run("ansible-playbook", "tests/lab/broken_image.yml", check=False)
    assert refused.returncode != 0
    assert "no-such-package-socklab" in refused.stdout
    left = lab.run("podman", "images", "--format", "{{.Repository}}").stdout
    assert "localhost/socklab/broken" not in left


def test_check_mode_on_a_lab_that_is_not_there(tmp_path: Path) -> None:
    lab = Lab()
    lab.environment |= {
        "SOCKLAB_ID": "socklab-none",
        "SOCKLAB_SUBNET": "198.18.65.0/24",
        "SOCKLAB_STATE": str(tmp_path / "none"),
    }
    done = lab.playbook("--check")
    assert "does not exist yet" in done.stdout
    assert "check mode leaves it out" in done.stdout
