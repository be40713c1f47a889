"""A campaign's folder: its plan, its block files, its attempts; which campaign to go on with."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.blockfile import BLOCK_NAME
from collector.campaign.errors import UsageError
from collector.plan.plan import Plan, changed


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign on disk."""

    folder: Path
    plan: Plan

    @property
    def blocks(self) -> Path:
        """Where its sealed block files lie."""
        return self.folder / "blocks"

    def files(self) -> dict[tuple[int, int], Path]:
        """Return the sealed files by (block, attempt)."""
        found = ((BLOCK_NAME.fullmatch(path.name), path) for path in self.blocks.iterdir())
        return {(int(name[1]), int(name[2])): path for name, path in found if name}

    def sealed(self) -> set[int]:
        """Return the blocks that are done: the last sealed attempt is not one to redo."""
        last: dict[int, int] = {}
        for block, attempt in self.files():
            last[block] = max(attempt, last.get(block, 0))
        rejected = {(one["block"], one["attempt"]) for one in self.attempts() if one.get("redo")}
        return {block for block, attempt in last.items() if (block, attempt) not in rejected}

    def unsettled(self) -> dict[tuple[int, int], Path]:
        """Return sealed files that nobody has judged yet: their engine was killed."""
        said = {(one["block"], one["attempt"]) for one in self.attempts() if "redo" in one}
        return {key: path for key, path in self.files().items() if key not in said}

    def attempts(self) -> list[dict[str, Any]]:
        """Return every attempt on record, in order; a torn line is an absent record."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "attempts.jsonl").read_text().splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def next_attempt(self, block: int) -> int:
        """Return the number of the next attempt at a block: never one that was used."""
        used = [one["attempt"] for one in self.attempts() if one["block"] == block]
        used += [attempt for number, attempt in self.files() if number == block]
        return max(used, default=0) + 1

    def begin(self, block: int, attempt: int) -> None:
        """Keep that an attempt has begun: its number is used, whatever becomes of it."""
        self._append({"block": block, "attempt": attempt, "outcome": "begun"})

    def record(self, block: int, attempt: int, outcome: str, redo: bool, stages: Any) -> None:
        """Keep what became of an attempt, and how long its stages took (s)."""
        line = {"block": block, "attempt": attempt, "outcome": outcome, "redo": redo}
        self._append(line | {"stages": stages})

    def _append(self, line: dict[str, Any]) -> None:
        # A line of its own even after a torn one.
        with (self.folder / "attempts.jsonl").open("a") as stream:
            stream.write("\n" + json.dumps(line) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def finish(self) -> None:
        """Say that nothing of the plan is left to do."""
        (self.folder / "finished").touch()


def new_campaign_id(experiment: str) -> str:
    """Return an id that says what and when, and is no other's."""
    return f"{experiment}-{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def create(results: Path, plan: Plan) -> Campaign:
    """Make the folder of a new campaign; the plan is there whole or not at all."""
    folder = results / "campaigns" / plan.campaign
    (folder / "blocks").mkdir(parents=True)
    draft = folder / "plan.json.new"
    draft.write_bytes(plan.to_json())
    draft.rename(folder / "plan.json")
    return Campaign(folder, plan)


def newest_unfinished(results: Path, experiment: str) -> Campaign | None:
    """Return the newest campaign of the experiment if it still has blocks to do."""
    for path in sorted(results.glob(f"campaigns/{experiment}-*/plan.json"), reverse=True):
        plan = Plan.from_json(path.read_bytes())
        if plan.experiment == experiment:
            return None if (path.parent / "finished").exists() else Campaign(path.parent, plan)
    return None


def can_go_on(campaign: Campaign, embeds: dict[str, str], wanted: Plan) -> bool:
    """Whether a campaign's plan embeds nothing that is different now.

    False where it does and no block was begun, so that nothing is lost with it; ``UsageError`` with
    what has changed where one was.
    """
    items = changed(campaign.plan, embeds)
    if campaign.plan.profile != wanted.profile:
        items.append(f"profile: {campaign.plan.profile.name} then, {wanted.profile.name} now")
    if len(campaign.plan.blocks) != len(wanted.blocks):
        items.append(f"blocks: {len(campaign.plan.blocks)} then, {len(wanted.blocks)} now")
    if campaign.plan.hosts != wanted.hosts:
        items.append("hosts: the inventory has changed")
    if items and campaign.attempts():
        raise UsageError(
            f"campaign {campaign.plan.campaign} cannot go on, because this has changed since it "
            f"began: {'; '.join(items)}. Undo the change, or begin anew: make lab new=1 "
            "(the unfinished one stays as it is)."
        )
    return not items
