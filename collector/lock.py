"""One command at a time on a lab: who holds it, and how a dead holder is recognised.

The lock is a file with the holder's pid, start time and boot id; it is stale as soon as that
process is gone, whatever happened to it. The holder is the outermost ``ansible-playbook`` above
this process, so that one playbook's stages share it. Standard library only: ``make`` asks before
anything else is started.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
HOLDER: Final = "ansible-playbook"


class LockHeldError(Exception):
    """Another command works on this lab; the text names it."""


def _start_time(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return " ".join(Path(word).name if index < 2 else word for index, word in enumerate(words[:8]))


def _parents(pid: int) -> list[int]:
    chain = [pid]
    while chain[-1] > 1:
        try:
            stat = Path(f"/proc/{chain[-1]}/stat").read_text()
        except OSError:
            break
        chain.append(int(stat.rpartition(")")[2].split()[1]))
    return chain


def owner() -> int:
    """Return the pid that holds for this process: its outermost ansible-playbook, or itself."""
    chain = _parents(os.getpid())
    return next((pid for pid in reversed(chain) if HOLDER in _command(pid)), os.getpid())


def holder(state: Path) -> dict[str, Any] | None:
    """Return who holds the lock, or None: never held, released, or its process is gone."""
    try:
        held: dict[str, Any] = json.loads((state / "lock").read_text())
        alive = _start_time(held["pid"]) == held["start"] is not None
        same_boot = BOOT_ID.read_text().strip() == held["boot"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # torn, or not written by this module: nobody can be waited for
    return held if alive and same_boot else None


def refuse_held(state: Path) -> None:
    """Raise ``LockHeldError`` if another command than this one's owner holds the lock."""
    held = holder(state)
    if held is not None and held["pid"] not in _parents(os.getpid()):
        raise LockHeldError(
            f"lab {state.name} is in use by process {held['pid']} ({held['command']}). "
            "Wait for it, or end it; a command that died holds nothing."
        )


def acquire(state: Path) -> None:
    """Take the lock for this process's owner; raises ``LockHeldError``."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        refuse_held(state)
        pid = owner()
        if (held := holder(state)) is not None and held["pid"] in _parents(os.getpid()):
            return
        mine = {
            "pid": pid,
            "start": _start_time(pid),
            "boot": BOOT_ID.read_text().strip(),
            "command": _command(pid).strip(),
        }
        draft = state / "lock.new"
        draft.write_text(json.dumps(mine))
        draft.replace(state / "lock")
    finally:
        os.close(folder)


def main() -> int:
    """``python -m collector.lock {check,acquire} STATE``; exit 3 if another command holds it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("check", "acquire"))
    parser.add_argument("state", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.action == "acquire":
            acquire(arguments.state)
        else:
            refuse_held(arguments.state)
    except LockHeldError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
