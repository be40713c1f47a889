"""The real nginx, which judges rendered configurations."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def nginx_program() -> str:
    """Where nginx is; fails the test, saying how to get it, where it is missing."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if not found:
        pytest.fail("no nginx: 'apt-get install nginx-light', as 'make setup' does", pytrace=False)
    return found


def judge(configuration: Path) -> None:
    """``nginx -t``; an error or a warning fails the test."""
    result = subprocess.run(
        [nginx_program(), "-t", "-e", "stderr", "-c", configuration],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "[warn]" not in result.stderr
