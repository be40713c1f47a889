"""What goes wrong, as a line of the output says it: the call, errno's name, what would allow it."""

from __future__ import annotations

import errno
from typing import Final

VERSION: Final = "1.0.0"
MEASURED: Final = 0
FAILED: Final = 1
UNAVAILABLE: Final = 3


class TroubleError(Exception):
    """What went wrong: the call, the name of its error where it has one, what would allow it."""

    def __init__(self, call: str, text: str, name: str = "", allow: str = "") -> None:
        super().__init__(text)
        self.said = {"call": call, "errno": name, "text": text, "allow": allow}

    def members(self) -> dict[str, str]:
        """Return the members of a line that says so."""
        return {name: text for name, text in self.said.items() if text}


class MissingError(TroubleError):
    """A library that is not there."""


def refused(call: str, error: OSError, allow: str = "") -> TroubleError:
    """Return the trouble of a system call."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return TroubleError(call, error.strerror or str(error), name, allow)


def went_wrong(text: str) -> TroubleError:
    """Return a trouble that no system call had."""
    return TroubleError("serialisation", text)


def anything(error: Exception) -> TroubleError:
    """Return what a library raised: for bytes that it cannot read, each has a class of its own."""
    if isinstance(error, TroubleError):
        return error
    if isinstance(error, OSError):
        return refused("socket", error)
    return TroubleError("serialisation", str(error) or repr(error), type(error).__name__)
