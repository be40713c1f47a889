"""What a failure of fetching means: the way broke, or the disk here is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from blockfiles import Body
from blockfiles import Campaign as Made
from test_campaign_ready import plan_with

from collector.campaign import fetch
from collector.campaign.errors import NotFetched, NotReadyError
from collector.campaign.fetch import failed_runs
from collector.campaign.folder import Campaign, create
from collector.plan.plan import Plan


def failing(number: int) -> Callable[..., Path]:
    def bring(*_: Any) -> Path:
        raise OSError(number, os.strerror(number))

    return bring


@pytest.mark.parametrize(
    ("number", "expected", "said"),
    [
        (errno.ENOSPC, NotReadyError, "Make room on the controller"),
        (errno.ECONNRESET, NotFetched, "lab-1: the way broke while fetching"),
    ],
)
def test_a_full_disk_here_is_not_blamed_on_the_load_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, expected: type[Exception], said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch, "_bring", failing(number))
    runner = MagicMock()
    runner.host.name = "lab-1"
    with pytest.raises(expected, match=said):
        fetch.fetch_block(Campaign(tmp_path, cast(Plan, None)), runner, MagicMock(), 1, [])


def test_only_what_is_missing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = create(tmp_path, plan_with())
    here, lost, away, *_ = names = [f"b{block.block:04d}-a1" for block in campaign.plan.blocks]
    for block in campaign.plan.blocks[:3]:
        campaign.begin(block.block, 1)
    (campaign.blocks / f"{here}.jsonl").write_bytes(b"")
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(fetch, "_sftp", lambda _: nullcontext())
    monkeypatch.setattr(
        fetch, "_bring", lambda _, __, block, attempt, ___: asked.append((block.block, attempt))
    )
    runner = MagicMock()
    runner.host.name = campaign.plan.blocks[0].load_host
    held: dict[str, list[str]] = {name: [] for name in [*names, "b0099-a1"]}
    del held[lost]  # begun, and never sealed
    runner.ask.return_value = {"held": held}
    assert fetch.fetch_left(campaign, runner) == [away]
    assert asked == [(campaign.plan.blocks[2].block, 1)]


@pytest.mark.parametrize(
    ("tool", "output", "problem"),
    [
        ("ipc", "ipc/unavailable.txt", None),
        ("ipc", "ipc/server_gone.txt", "failed runs: tcp-loopback/a measure exit code 3"),
        ("wrk", "ipc/unavailable.txt", "failed runs: tcp-loopback/a measure exit code 3"),
    ],
)
def test_what_the_kernel_forbids_is_not_tried_again(
    tmp_path: Path, tool: str, output: str, problem: str | None
) -> None:
    made = Made(blocks=1, load={**Made(blocks=1).load, "tool": tool, "concurrency": 1})
    text = (Path(__file__).parents[1] / "fixtures" / "parse" / output).read_text()

    def ended(body: Body) -> None:
        body["measure"].update(stdout=text, exit_code=3)

    assert failed_runs(made.write_block(tmp_path, 1, change={1: ended})) == problem
