"""What the hosts stage found out about machines, as the stages after it need it.

The role preflight writes ``preflight.json`` into the lab's folder; a lab whose hosts are all made
for it has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from collector.campaign.errors import NotReadyError
from collector.plan.inventory import Host, Inventory

NAME: Final = "preflight.json"
TEXT_LIMIT: Final = 200


class _Seen(BaseModel):
    missing: str | None
    warnings: list[tuple[str, str]]
    untested: bool | None


class _File(BaseModel):
    hosts: dict[str, _Seen]


@dataclass(frozen=True, slots=True)
class Preflight:
    """By host: what was found."""

    seen: Mapping[str, _Seen]

    def missing(self) -> dict[str, str]:
        """Hosts that could not be reached, each with the reason."""
        return {name: one.missing for name, one in self.seen.items() if one.missing is not None}

    def untested(self, host: Host) -> bool | None:
        """Whether the host's system is one that nobody tried; None where nobody looked."""
        if host.kind != "bare-metal":
            return False
        return self.seen[host.name].untested if host.name in self.seen else None

    def warnings(self, host: Host) -> list[str]:
        """What a reader of the host's figures should know, in plain letters: the host said it."""
        found = self.seen[host.name].warnings if host.name in self.seen else []
        return [f"{host.name}: {_plain(what)}" for what, _ in found]

    def present(self, inventory: Inventory) -> Inventory:
        """Return the inventory without the hosts that were missing."""
        gone = self.missing().keys()
        return dataclasses.replace(
            inventory,
            hosts={name: host for name, host in inventory.hosts.items() if name not in gone},
            groups={
                group: tuple(name for name in members if name not in gone)
                for group, members in inventory.groups.items()
            },
        )


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:TEXT_LIMIT]


def read_preflight(state: Path) -> Preflight:
    """Read the file; nothing where there is none. ``NotReadyError`` if it is no such file."""
    try:
        return Preflight(_File.model_validate_json((state / NAME).read_bytes()).hosts)
    except FileNotFoundError:
        return Preflight({})
    except ValidationError as error:
        problem = " ".join(str(error).split())
        raise NotReadyError(
            f"{state / NAME}: not what the hosts stage writes: {problem}. "
            "Run it again: ansible-playbook lab.yml --tags hosts"
        ) from None
