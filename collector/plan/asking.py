"""Asks another of this repository's programs, by its command line, and returns what it prints.

The collector does not know the analysis; a question that has a command is put to the command, so
that a person can put it too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = 900.0
NO: Final = 1  # done, and the answer is no


class NotAnsweredError(Exception):
    """The program failed; the text is its command line and what it said."""


def ask(*argv: str) -> str:
    """Run ``python -m <argv>`` and return its standard output; exit code 1 is an answer too.

    Paths must be absolute. Raises ``NotAnsweredError``.
    """
    command = f"python -m {' '.join(argv)}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", *argv], cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotAnsweredError(f"{command}: not within {LIMIT_S:.0f} s") from None
    # Python's own exit code for a crash is 1 too; whoever has an answer prints it, and no trace.
    crashed = not done.stdout.strip() or "Traceback (most recent call last)" in done.stderr
    if done.returncode not in (0, NO) or (done.returncode == NO and crashed):
        raise NotAnsweredError(f"{command}: {done.stderr.strip()[-2000:]}")
    return done.stdout
