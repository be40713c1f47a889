"""Errors that a person can mend: each says what was expected and what to do."""

from __future__ import annotations


class DatasetError(Exception):
    """The dataset, a plan or an archive cannot be read or written; the message says why."""


class DatasetMissingError(DatasetError):
    """Nothing has been collected yet."""


class DatasetBusyError(DatasetError):
    """Another ``collect`` is writing the dataset."""
