"""The report: run directories as a static web site, from which every number leads to the texts."""

from bench.report.site import build

__all__ = ["build"]
