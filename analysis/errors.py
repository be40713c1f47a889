"""What the analysis refuses, each with the exit code that the command line gives for it."""

from __future__ import annotations

from typing import ClassVar


class AnalysisError(Exception):
    """A refusal whose text says what was found, what was expected and how to mend it."""

    exit_code: ClassVar[int] = 2


class BadDatasetError(AnalysisError):
    """The index, a part or a plan cannot be read as what it claims to be."""


class UnknownNameError(AnalysisError):
    """An experiment or campaign that the dataset does not hold."""


class MixedComparisonError(AnalysisError):
    """Runs that differ in what a comparison must hold constant."""


class NoDatasetError(AnalysisError):
    """There is nothing to analyse yet; the text names the command that makes it."""

    exit_code: ClassVar[int] = 3
