"""report.html: what a person can look at, print and pass on."""

from protoleak.video.outputs.report.index import ReportIndex
from protoleak.video.outputs.report.report import HtmlReport

__all__ = ["HtmlReport", "ReportIndex"]
