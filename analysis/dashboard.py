"""The dashboard: a run as one HTML file that opens offline."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader

from analysis.load import Run


def render(run: Run, summary: dict[str, Any]) -> str:
    """The page as text. Text from engines and scenarios is escaped: it cannot run in the page."""
    environment = Environment(loader=PackageLoader("analysis"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("dashboard.html.j2").render(summary=summary)
