"""What can go wrong between the controller and the lab, each with its exit code."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
NO: Final = 1
USAGE: Final = 2
NOT_READY: Final = 3
INTERRUPTED: Final = 130


class CampaignError(Exception):
    """A campaign cannot go on; the text says why and what to do."""

    code = NO


class NotReadyError(CampaignError):
    """The lab is not ready: not up, not reachable, or not ours."""

    code = NOT_READY


class UsageError(CampaignError):
    """What was asked for makes no sense."""

    code = USAGE


class BlockFailed(CampaignError):  # noqa: N818 (an outcome of a block, handled by redoing it)
    """An attempt at a block came to nothing; the block can be redone."""


class Declined(BlockFailed):
    """A host's program says that it cannot do what it was asked."""


class NoRoom(BlockFailed):
    """No room: on a host's disk, for what a job asks, within its memory limit. No attempt helps."""


class NotFetched(Exception):  # noqa: N818 (likewise)
    """A block was measured, and lies sealed on its load host: the way there broke."""
