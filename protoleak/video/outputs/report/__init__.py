"""report.html: what a person can look at, print and hand on."""

from protoleak.video.outputs.report.index import ReportIndex
from protoleak.video.outputs.report.report import Report

__all__ = ["Report", "ReportIndex"]
