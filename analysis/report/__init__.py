"""The report: one HTML file that needs no network and runs only the scripts written into it."""

from analysis.report.page import render

__all__ = ["render"]
