"""Pictures of every kind of page in all four modes, to look at: `python -m tests.browser.pictures FOLDER [KINDS]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, chromium_path
from tests.browser.gallery import PAGES

WIDTHS = {"screen": 1440, "phone": 390}
SCHEMES = ("light", "dark")
DRAWN = "!document.querySelector('.chart') || Boolean(document.documentElement.dataset.drawn)"


def take(into: Path, kinds: list[str]) -> None:
    """KIND-screen-light.png and so on, of each kind."""
    into.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as run, tempfile.TemporaryDirectory() as made:
        browser = run.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for kind in kinds:
            folder = Path(made, kind.replace(" ", "-"))
            folder.mkdir()
            page = PAGES[kind](folder)
            for width, pixels in WIDTHS.items():
                for scheme in SCHEMES:
                    shown = browser.new_page(viewport={"width": pixels, "height": 900}, color_scheme=scheme)
                    shown.goto(page.resolve().as_uri())
                    shown.wait_for_function(DRAWN)
                    shown.screenshot(path=into / f"{folder.name}-{width}-{scheme}.png", full_page=True)
                    shown.close()
            print(kind)
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), sys.argv[2:] or list(PAGES))
