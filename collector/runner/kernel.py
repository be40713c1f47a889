"""What the kernel says of itself in files, on cgroup v1 (hybrid) and v2, read without privilege.

What a kernel does not say is None.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")


def read_text(path: Path) -> str | None:
    """Return the file's text; None if it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return the file's one number; None if there is none."""
    text = read_text(path)
    return int(text) if text is not None and text.strip().isdigit() else None


def read_pairs(path: Path) -> dict[str, int]:
    """Return the file's ``name number`` lines; empty if it is not there."""
    pairs = (line.split() for line in (read_text(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def boot_id() -> str:
    """Id of this boot of the kernel."""
    return (read_text(PROC / "sys/kernel/random/boot_id") or "").strip()


def cgroup_version() -> int:
    """1 for the legacy and hybrid layouts, 2 for the unified one."""
    return 2 if (CGROUP / "cgroup.controllers").exists() else 1
