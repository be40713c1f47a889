"""What is wrong with an input, and where: the one shape of every complaint in this room."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal

LABEL_LIMIT: Final = 63  # RFC 1123, section 2.1, and RFC 1035 for the length
NAME_LIMIT: Final = 40  # leaves room for a campaign's time stamp and a job's suffix in a label
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint: an ``error`` stops the plan, a ``warning`` goes with it.

    ``where`` is ``file:line:column: key.path`` for a file, ``inventory: host name`` for a host.
    """

    level: Literal["error", "warning"]
    where: str
    message: str

    def __str__(self) -> str:
        mark = "" if self.level == "error" else "warning: "
        return f"{self.where}: {mark}{self.message}"


class BadInputError(Exception):
    """Input that cannot be used. ``findings`` holds every error, ``str()`` one a line."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


def is_label(text: str, limit: int = LABEL_LIMIT) -> bool:
    """Say whether ``text`` is an RFC 1123 label in lower case of at most ``limit`` characters."""
    return len(text) <= limit and _LABEL.fullmatch(text) is not None


def shown(value: object) -> str:
    """Quote a value for a message: escaped, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def suggestion(word: str, known: Iterable[str]) -> str:
    """End a message about an unknown word: the nearest known one, else all of them.

    >>> suggestion("vrs", ["job", "variables"])
    "; did you mean 'variables'?"
    >>> suggestion("q", ["job", "variables"])
    '; known: job, variables'
    """
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""
