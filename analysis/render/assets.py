"""What all pages share: templates, style, scripts, and rules for what may be embedded."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tokenswarm.base.data_files import PLOTLY_JS


@cache
def environment() -> Environment:
    return Environment(
        loader=PackageLoader("tokenswarm.analysis.render"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def asset(name: str) -> str:
    return (files("tokenswarm.analysis.render") / "templates" / name).read_text(encoding="utf-8")


def chart_page(specs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The variables that `head.html.j2` and `scripts.html.j2` need for a page with these charts (`Chart.spec`).

    plotly.js is compressed in the page, and the page's own script decompresses it: 0.7 MB instead of 1.5. The content
    security policy lists the hash of the decompressed script, so nothing else can run.
    """
    packed, plotly_hash = _plotly()
    page = text_page("dashboard.js")
    return page | {
        "plotly_packed": packed,
        "charts_json": safe_json(list(specs)),
        "script_hashes": f"{page['script_hashes']} {plotly_hash}",
    }


def text_page(script: str | None = None) -> dict[str, object]:
    """The variables that `head.html.j2` needs for a page without charts. `script`: the page's own, at its end."""
    first, own = asset("every_page.js"), "" if script is None else asset(script)
    return {
        "style": Markup(asset("dashboard.css")),
        "first_script": Markup(first),
        "page_script": Markup(own),
        "script_hashes": " ".join(script_hash(each) for each in (first, own) if each),
    }


@cache
def _plotly() -> tuple[Markup, str]:
    """plotly.js as base64 of gzip, and the hash of its text."""
    script = PLOTLY_JS.read_bytes()
    packed = base64.b64encode(gzip.compress(script, 9, mtime=0)).decode("ascii")
    return Markup(packed), script_hash(script.decode("utf-8"))


def script_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def safe_json(value: object) -> Markup:
    """JSON that can be embedded in a script element: no character in it can close the element."""
    dumped = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        dumped = dumped.replace(char, f"\\u{ord(char):04x}")
    return Markup(dumped)
