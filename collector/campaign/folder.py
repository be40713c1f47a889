"""A campaign's folder: its plan, its block files, its attempts; which campaign to go on with."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from collector.campaign.errors import UsageError
from collector.plan.plan import Plan, changed

BLOCK_NAME: Final = re.compile(r"b(\d{4,})-a(\d+)\.jsonl")


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign on disk."""

    folder: Path
    plan: Plan

    @property
    def blocks(self) -> Path:
        """Where its sealed block files lie."""
        return self.folder / "blocks"

    def sealed(self) -> dict[int, int]:
        """Return the blocks that are done, with the last attempt of each."""
        done: dict[int, int] = {}
        for path in self.blocks.iterdir():
            if found := BLOCK_NAME.fullmatch(path.name):
                block, attempt = int(found[1]), int(found[2])
                done[block] = max(attempt, done.get(block, 0))
        rejected = {(one["block"], one["attempt"]) for one in self.attempts() if one["redo"]}
        return {block: last for block, last in done.items() if (block, last) not in rejected}

    def attempts(self) -> list[dict[str, Any]]:
        """Return every attempt on record, in order."""
        try:
            lines = (self.folder / "attempts.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def next_attempt(self, block: int) -> int:
        """Return the number of the next attempt at a block: never one that was used."""
        used = [one["attempt"] for one in self.attempts() if one["block"] == block]
        return max(used, default=0) + 1

    def record(self, block: int, attempt: int, outcome: str, redo: bool, stages: Any) -> None:
        """Keep what became of an attempt, and how long its stages took (s)."""
        line = {"block": block, "attempt": attempt, "outcome": outcome, "redo": redo}
        with (self.folder / "attempts.jsonl").open("a") as stream:
            stream.write(json.dumps(line | {"stages": stages}) + "\n")

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


def refuse_changed(campaign: Campaign, embeds: dict[str, str], wanted: Plan) -> None:
    """Refuse to go on with a campaign whose plan embeds something that is different now."""
    items = changed(campaign.plan, embeds)
    if campaign.plan.profile != wanted.profile:
        items.append(f"profile: {campaign.plan.profile.name} then, {wanted.profile.name} now")
    if len(campaign.plan.blocks) != len(wanted.blocks):
        items.append(f"blocks: {len(campaign.plan.blocks)} then, {len(wanted.blocks)} now")
    if campaign.plan.hosts != wanted.hosts:
        items.append("hosts: the inventory has changed")
    if items:
        raise UsageError(
            f"campaign {campaign.plan.campaign} cannot go on, because this has changed since it "
            f"began: {'; '.join(items)}. Undo the change, or begin anew: make lab new=1 "
            "(the unfinished one stays as it is)."
        )
