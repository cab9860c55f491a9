"""The report on still images that `screen --report DIR` writes."""

from protoleak.cli.screen_images.report.report import ImageReport, open_image_report, reports_in

__all__ = ["ImageReport", "open_image_report", "reports_in"]
