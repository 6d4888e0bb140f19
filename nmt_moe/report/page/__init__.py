"""Reports and training curves as one HTML file that opens from disk, without a network."""

from nmt_moe.report.page.html import write_curves, write_report

__all__ = ["write_curves", "write_report"]
