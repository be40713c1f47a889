"""A sealed block comes here: fetched, checked against what was asked for, judged.

What a host says is not trusted: names follow from the plan, or are refused.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from paramiko import SFTPClient, SSHException

from collector.blockfile import BLOB_NAME, BlockFileError, block_name, read_lines, sync_folder
from collector.campaign.errors import BlockFailed, NotFetched, NotReadyError
from collector.campaign.folder import Campaign
from collector.campaign.remote import REMOTE_BLOCKS, Remote, fetch_file
from collector.parse import TOOLS, ParseError
from collector.plan.model import Block

FETCH_S: Final = 30.0


def fetch_block(
    campaign: Campaign, runner: Remote, block: Block, attempt: int, blobs: Sequence[str]
) -> Path:
    """Bring the sealed file and its blobs here and check them; return the file's path.

    Raises ``NotFetched`` if the way to the host broke: the file is still there, and
    ``fetch_left`` brings it. Raises ``BlockFailed`` if the file is none to be believed.
    """
    try:
        with _sftp(runner) as sftp:
            path = _bring(campaign, sftp, block, attempt, blobs)
    except (OSError, EOFError, SSHException) as error:
        _refuse_full(campaign, error)
        said = str(error) or type(error).__name__
        raise NotFetched(f"{runner.host.name}: the way broke while fetching: {said}") from None
    _forget(campaign, runner, path.stem)
    return path


def fetch_left(campaign: Campaign, runner: Remote) -> list[str]:
    """Bring the sealed files here that an earlier engine did not; return their names.

    Files of attempts that are here, that were judged, or that this campaign never began stay. One
    that is not to be believed is put on record as that. Raises ``NotReadyError``.
    """
    attempts = campaign.attempts()
    wanted = {(one["block"], one["attempt"]) for one in attempts} - campaign.files().keys()
    wanted -= {(one["block"], one["attempt"]) for one in attempts if "redo" in one}
    mine = {one.block: one for one in campaign.plan.blocks if one.load_host == runner.host.name}
    brought = []
    try:
        held = runner.ask("held", campaign=campaign.plan.campaign)["held"]
        with _sftp(runner) as sftp:
            for block, attempt in sorted(wanted):
                name = block_name(block, attempt)
                if block not in mine or name not in held:
                    continue
                try:
                    _bring(campaign, sftp, mine[block], attempt, held[name])
                except BlockFailed as error:
                    campaign.record(block, attempt, str(error), True, {})
                    continue
                _forget(campaign, runner, name)
                brought.append(name)
    except (BlockFailed, OSError, EOFError, SSHException) as error:
        _refuse_full(campaign, error)
        said = str(error) or type(error).__name__
        raise NotReadyError(
            f"{runner.host.name}: what it measured cannot be fetched: {said}"
        ) from None
    return brought


def _refuse_full(campaign: Campaign, error: Exception) -> None:
    """Tell a full disk here from trouble on the way: SFTP has no code of that meaning."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise NotReadyError(
            f"{campaign.blocks}: {error.strerror}. Make room on the controller, then run the same "
            "command again: what was measured waits on its load host"
        ) from None


def _forget(campaign: Campaign, runner: Remote, name: str) -> None:
    with suppress(BlockFailed):  # the block is here: what stays there is only litter
        runner.ask("forget", campaign=campaign.plan.campaign, name=name)


@contextmanager
def _sftp(runner: Remote) -> Iterator[SFTPClient]:
    with runner.connection.client.open_sftp() as sftp:
        sftp.get_channel().settimeout(FETCH_S)
        yield sftp


def _bring(
    campaign: Campaign, sftp: SFTPClient, block: Block, attempt: int, blobs: Sequence[str]
) -> Path:
    name = block_name(block.block, attempt)
    if not all(BLOB_NAME.fullmatch(one) and one.startswith(f"{name}.") for one in blobs):
        raise BlockFailed(f"{block.load_host} offers files that are none of this block's")
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
    sync_folder(campaign.blocks)  # the host forgets its copy next
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
    """Say which runs of a sealed block ended badly: the block is then redone whole.

    What the kernel forbids (``Record.unavailable``) is no better the second time.
    """
    bodies = [body for _, body in read_lines(path)]
    bad = [
        f"{body['arm']}/{body['copy']} {part} exit code {body[part]['exit_code']}"
        for body in bodies
        if body["type"] == "run"
        for part in ("warmup", "measure")
        if part in body
        and body[part]["exit_code"] != 0
        and not _unavailable(bodies[0], body["measure"])
    ]
    return f"failed runs: {', '.join(bad)}" if bad else None


def _unavailable(header: Mapping[str, Any], measure: Mapping[str, Any]) -> bool:
    try:
        tool = TOOLS[header["load"]["tool"]]
        return tool.parse(measure.get("stdout", "").encode(), {}).unavailable is not None
    except (KeyError, ParseError):
        return False
