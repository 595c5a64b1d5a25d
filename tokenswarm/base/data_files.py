"""Locates the data that comes with tokenswarm: scenarios, locustfiles, compose, claims.

In a checkout these folders are at the top of the repository; an installed package contains them.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
CHECKOUT: Path | None = (
    _PACKAGE.parent
    if (_PACKAGE.parent / "pyproject.toml").is_file() and (_PACKAGE.parent / "scenarios").is_dir()
    else None
)
"""Top of the repository if tokenswarm runs from a checkout; None if it is installed as a package."""


def data_folder(name: str) -> Path:
    """The folder `name` (such as scenarios) that comes with tokenswarm."""
    return (CHECKOUT or _PACKAGE) / name


SCENARIOS_DIR = data_folder("scenarios")
LOCUSTFILES_DIR = data_folder("locustfiles")
COMPOSE_DIR = data_folder("compose")
ENGINES_DIR = COMPOSE_DIR / "engines"
ENDPOINTS_DIR = COMPOSE_DIR / "endpoints"
CLAIMS_DIR = data_folder("claims")

PLOTLY_JS = Path(__file__).resolve().parent / "plotly" / "plotly-cartesian-4.1.1.min.js"
"""Draws the charts of pages and tab: the npm package plotly.js-cartesian-dist-min as published (MIT; its license is
beside it). It is a third of plotly.js and has all trace types that our charts use."""
