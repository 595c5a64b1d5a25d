"""No page has a serious finding of axe-core: contrast, names, roles, what the keyboard reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.compare.report import compare_runs
from tokenswarm.analysis.compare_files import COMPARISON_HTML, write_comparison
from tokenswarm.analysis.report import report

from tests.analysis.make_run import make_run
from tests.browser.test_dashboard import wait_until
from tests.test_walls import ROOT
from tokenswarm.cli import main
from tokenswarm.contract.tables import DASHBOARD_HTML

pytestmark = pytest.mark.browser
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def axe() -> str:
    """The script that checks a page."""
    path = next((ROOT / "build" / "axe").glob("*/axe.min.js"), None)
    if path is None:
        pytest.skip("axe-core is not there: sh tests/browser/need_axe.sh")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dashboard with failures, a comparison, and the page of all results."""
    results = tmp_path_factory.mktemp("results")
    runs = [
        make_run(results / f"run-{seed}", "rag", seconds=30, failures=0.05, seed=seed, run_id=f"run-{seed}")
        for seed in (1, 2)
    ]
    for run in runs:
        report(run)
    write_comparison(compare_runs(a=runs[:1], b=runs[1:]), results / "comparison-1")
    assert main(["results", str(results)]) == 0
    return {
        "dashboard": runs[0] / DASHBOARD_HTML,
        "comparison": results / "comparison-1" / COMPARISON_HTML,
        "results": results / "index.html",
    }


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
@pytest.mark.parametrize("page", ["dashboard", "comparison", "results"])
def test_a_page_has_no_serious_finding(
    browser: Any, axe: str, pages: dict[str, Path], page: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(pages[page].resolve().as_uri())
    if page != "results":
        wait_until(opened, "Boolean(document.documentElement.dataset.drawn)")
    opened.evaluate(axe)
    violations = opened.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["target"]) for each in violations if each["impact"] in GRAVE] == []


def test_the_check_finds_what_is_wrong(browser: Any, axe: str) -> None:
    page = browser.new_page()
    page.set_content("<html lang=en><body><img src=x><p style='color:#aaa;background:#fff'>pale</p></body></html>")
    page.evaluate(axe)
    found_ids = {each["id"] for each in page.evaluate("axe.run(document)")["violations"]}
    page.close()
    assert {"image-alt", "color-contrast"} <= found_ids
