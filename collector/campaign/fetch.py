"""A sealed block comes here: fetched, checked against what was asked for, judged.

What a host says is not trusted: names follow from the plan, or are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collector.blockfile import BLOB_NAME, BlockFileError, block_name, read_lines
from collector.campaign.errors import BlockFailed
from collector.campaign.folder import Campaign
from collector.campaign.remote import REMOTE_BLOCKS, Remote, fetch_file
from collector.plan.model import Block

FETCH_S: Final = 30.0


def fetch_block(
    campaign: Campaign, runner: Remote, block: Block, attempt: int, blobs: Sequence[str]
) -> Path:
    """Bring the sealed file and its blobs here and check them; return the file's path."""
    name = block_name(block.block, attempt)
    if not all(BLOB_NAME.fullmatch(one) and one.startswith(f"{name}.") for one in blobs):
        raise BlockFailed(f"{block.load_host} offers files that are none of this block's")
    sftp = runner.connection.sftp()
    sftp.get_channel().settimeout(FETCH_S)
    folder = f"{REMOTE_BLOCKS}/{campaign.plan.campaign}"
    for one in [*blobs, f"{name}.jsonl"]:
        draft = campaign.blocks / f"{one}.part"
        fetch_file(sftp, f"{folder}/{one}", draft)
        if one in blobs:
            digest = hashlib.sha256(draft.read_bytes()).hexdigest()
            if f".{digest}." not in one:
                raise BlockFailed(f"fetched blob {one} does not verify")
        else:
            _verify(draft, campaign.plan.campaign, block, attempt)
        draft.chmod(0o440)
        draft.rename(campaign.blocks / one)
    return campaign.blocks / f"{name}.jsonl"


def _verify(path: Path, campaign: str, block: Block, attempt: int) -> None:
    """Check the chain, and that this is the block that was asked for."""
    try:
        bodies = [body for _, body in read_lines(path)]
    except BlockFileError as error:
        raise BlockFailed(f"fetched file does not verify: {error}") from None
    found = [bodies[0].get(key) for key in ("campaign", "block", "attempt")]
    runs = [body.get("run") for body in bodies if body["type"] == "run"]
    if found != [campaign, block.block, attempt] or runs != [run.run for run in block.runs]:
        raise BlockFailed(f"fetched file is not block {block.block}, attempt {attempt}")


def failed_runs(path: Path) -> str | None:
    """Say which runs of a sealed block ended badly: the block is then redone whole."""
    bad = [
        f"{body['arm']}/{body['copy']} {part} exit code {body[part]['exit_code']}"
        for _, body in read_lines(path)
        if body["type"] == "run"
        for part in ("warmup", "measure")
        if body[part]["exit_code"] != 0
    ]
    return f"failed runs: {', '.join(bad)}" if bad else None
