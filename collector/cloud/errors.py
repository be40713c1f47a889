"""What can be wrong with a cloud, each with its exit code."""

from __future__ import annotations


class CloudError(Exception):
    """The cloud's answer is no; the text has one line a reason, each saying how to mend it."""

    code = 1


class CloudNotReadyError(CloudError):
    """Nobody could be asked: no credentials, or those of somebody else."""

    code = 3
