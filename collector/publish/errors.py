"""What ends a publication, each with its exit code."""

from __future__ import annotations

from typing import ClassVar


class PublishError(Exception):
    """Bad input, or a bucket that is not to be used; the text says which and how to mend it."""

    code: ClassVar[int] = 2


class NotReadyError(PublishError):
    """Something must be made first, or be reachable: report, dataset, credentials, S3."""

    code: ClassVar[int] = 3
