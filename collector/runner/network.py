"""What a network namespace counts, the host's or a container's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collector.runner import kernel
from collector.runner.kernel import read_text

NET: Final = (
    "ActiveOpens", "PassiveOpens", "ListenOverflows", "ListenDrops", "TCPTimeouts",
    "TCPBacklogDrop", "RetransSegs",
)  # fmt: skip
LINK: Final = "veth"


def read_devices(folder: Path) -> dict[str, tuple[int, int]]:
    """Return bytes received and sent of each device of a network namespace."""
    found = {}
    for line in (read_text(folder / "dev") or "").splitlines():
        name, colon, counts = line.partition(":")
        fields = counts.split()
        if colon and len(fields) > 8:
            found[name.strip()] = int(fields[0]), int(fields[8])
    return found


def namespace(folder: Path) -> int | None:
    """What tells a network namespace from others: its files are its own; None if it is gone."""
    try:
        return (folder / "dev").stat().st_ino
    except OSError:
        return None


def read_links() -> int | None:
    """Return the bytes through the host's ends of its containers' networks, both ways together.

    The engine's names for them begin with ``veth``. None where a host counts no devices at all.
    """
    devices = read_devices(kernel.PROC / "net")
    ends = [sum(both) for name, both in devices.items() if name.startswith(LINK)]
    return sum(ends) if devices else None


def read_net(folder: Path) -> dict[str, int]:
    """Return what a network namespace counts.

    The counters of ``NET`` from ``snmp`` and ``netstat``, and the bytes of its devices: those of
    its loopback, and those that came in and went out by any other.
    """
    found: dict[str, int] = {}
    if devices := read_devices(folder):
        _, found["loopback_bytes"] = devices.pop("lo", (0, 0))
        found["received_bytes"] = sum(received for received, _ in devices.values())
        found["sent_bytes"] = sum(sent for _, sent in devices.values())
    for name in ("snmp", "netstat"):
        lines = (read_text(folder / name) or "").splitlines()
        for keys, values in zip(lines[::2], lines[1::2], strict=False):
            pairs = zip(keys.split()[1:], values.split()[1:], strict=False)
            found.update((key, int(value)) for key, value in pairs if key in NET)
    return found
