"""What a load tool is to the rest of the project: arguments from a load, a record from bytes.

Adding a tool is one module with a ``TOOL``, its fixtures, and one line in ``registry.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from collector.parse.record import Record

DIRECTORY: Final = "{dir}"
LIBRARY: Final = "{lib}"
# What a deployment's container ``load`` has for a tool that runs inside.
INSIDE: Final = "/local/load"

# Braces are left out of what a URL may hold because they mark the placeholders.
_URL: Final = re.compile(r"https?://[!-z|~]+")


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one invocation: for a time or for a number of requests, never both.

    ``url`` is ``None`` for a tool that runs inside the deployment: what it talks to is the job's
    business. ``timeout_s`` is how long a reply may take. Times are whole seconds of at least one,
    since that is all that wrk and ab take. ``rate_rps`` makes it an open loop: so many requests a
    second over all connections, whatever the answers do; ``None`` is a closed loop. Raises
    ``ValueError`` saying which field is wrong.
    """

    url: str | None
    concurrency: int
    threads: int
    duration_s: float | None
    requests: int | None
    keepalive: bool
    timeout_s: float
    rate_rps: int | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not _URL.fullmatch(self.url):
            raise ValueError(f"url: expected http://... without blanks or braces, not {self.url!r}")
        if self.concurrency < 1 or self.threads < 1:
            raise ValueError(
                f"concurrency and threads: at least 1, not {self.concurrency} and {self.threads}"
            )
        if (self.duration_s is None) == (self.requests is None):
            raise ValueError("duration_s, requests: give one of the two, and only one")
        if self.requests is not None and self.requests < 1:
            raise ValueError(f"requests: at least 1, not {self.requests}")
        if self.rate_rps is not None and self.rate_rps < 1:
            raise ValueError(f"rate_rps: at least 1, not {self.rate_rps}")
        whole_seconds("timeout_s", self.timeout_s)
        if self.duration_s is not None:
            whole_seconds("duration_s", self.duration_s)


def called(tool: str, load: Load) -> str:
    """Return the load's URL; ``ValueError`` if there is none."""
    if load.url is None:
        raise ValueError(f"{tool}: calls a URL, and this load has none")
    return load.url


def check_closed(tool: str, load: Load) -> None:
    """Raise ``ValueError`` where a tool that is a closed loop is given a rate."""
    if load.rate_rps is not None:
        raise ValueError(
            f"{tool}: asks again when it is answered, so it keeps no rate; h2load does"
        )


def check_inside(tool: str, load: Load) -> None:
    """Raise ``ValueError`` for what a tool that runs inside the deployment cannot be told.

    It has a thread, or more, for each connection and keeps its connections; ``threads`` 1 is what
    an experiment says that says nothing.
    """
    check_closed(tool, load)
    if load.url is not None:
        raise ValueError(f"{tool}: runs inside the deployment and calls no URL, so url: None")
    if load.threads not in (1, load.concurrency):
        raise ValueError(
            f"{tool}: has a thread for each connection; threads: 1 (leave it out) or "
            f"{load.concurrency}, not {load.threads}"
        )
    if not load.keepalive:
        raise ValueError(f"{tool}: keeps its connections; leave keepalive out or say true")


def rate_of(stdout: bytes, pattern: re.Pattern[bytes], unit: str) -> str | None:
    """Return the first group of ``pattern`` as a rate for a person; ``None`` if it is not there.

    >>> rate_of(b"Requests/sec:  12345.67", re.compile(rb"([0-9.]+)$"), "requests/s")
    '12,346 requests/s'
    """
    match = pattern.search(stdout)
    return None if match is None else f"{float(match[1]):,.0f} {unit}"


def whole_seconds(name: str, value: float) -> int:
    """Return ``value`` as whole seconds; ``ValueError`` names the field if it is not that."""
    if not (value >= 1 and float(value).is_integer()):
        raise ValueError(f"{name}: a whole number of seconds of at least 1, not {value}")
    return int(value)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a tool can do, for plans that ask for more than every tool offers.

    ``open_loop``: it asks on a schedule, and takes no other load.

    ``warms_up``: it begins each of its parts with a warm-up of its own, and gets no run for one.

    ``inside``: it runs in the deployment's own container ``load``, as ``/local/load`` with the
    arguments of a load, and needs no URL (docs/contracts.md, Experiment).
    """

    open_loop: bool
    unix_sockets: bool
    histogram: bool
    inside: bool
    warms_up: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """How to start a tool once: pure data, the same on every host.

    ``argv`` and ``env`` hold two placeholders: ``{dir}``, an empty directory for what the tool
    writes, and ``{lib}``, the directory of this package's own files for tools (the Lua script).
    ``files`` maps a role to the name of a file in ``{dir}``; the bytes come back to
    ``LoadTool.parse`` under the role.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def placed(self, directory: str, library: str) -> Invocation:
        """Return the invocation with both placeholders replaced."""

        def place(text: str) -> str:
            return text.replace(DIRECTORY, directory).replace(LIBRARY, library)

        return Invocation(
            tuple(map(place, self.argv)),
            {name: place(value) for name, value in self.env.items()},
            self.files,
        )


def invoke_pair(tool: str, load: Load) -> Invocation:
    """Return how a tool is started inside that has two processes talk to each other for a time.

    Raises ``ValueError`` for any other load.
    """
    check_inside(tool, load)
    if load.duration_s is None:
        raise ValueError(f"{tool}: runs for a time (duration_s), not for a number of requests")
    if load.concurrency != 1:
        raise ValueError(f"{tool}: two processes talk; concurrency 1, not {load.concurrency}")
    return Invocation(argv=(INSIDE, "--time", str(whole_seconds("duration_s", load.duration_s))))


class LoadTool(Protocol):
    """A load tool. Implementations keep no state."""

    @property
    def name(self) -> str:
        """Name of the program and of the tool in experiments."""

    @property
    def capabilities(self) -> Capabilities:
        """What the tool can do."""

    def arguments(self, load: Load) -> Invocation:
        """Return how to start the tool; ``ValueError`` if it cannot make this load."""

    def parse(self, stdout: bytes, files: Mapping[str, bytes], argv: Sequence[str] = ()) -> Record:
        """Return the record of exactly one output; ``ParseError`` if it is refused.

        ``argv`` is what the tool was started with, for what it does not print.
        """

    def histogram(self, stdout: bytes, files: Mapping[str, bytes]) -> list[tuple[int, int]]:
        """Return (value in us, count), values rising; empty if the tool gives none."""

    def figure(self, stdout: bytes) -> str | None:
        """Return the output's one figure for a progress line; ``None`` where there is none.

        ``12,345 requests/s``: for a glance, so nothing is checked and nothing is refused.
        """
