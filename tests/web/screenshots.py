"""Four views of the page as pictures: `python -m tests.web.screenshots URL FOLDER` takes them of a running service."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.web.acts import answer, ask, attach
from tests.web.conftest import FLAGS, PROGRAMS

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = ("media", "answer", "compare", "status")
SIZE = (900, 760)


def take(page: "Page", folder: Path) -> None:
    """Write page-VIEW.png of each view into the folder."""
    page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})
    attach(page, "dog.png", "running-imu.csv")
    page.locator(".composer .card canvas").first.wait_for()
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    page.screenshot(path=folder / "page-media.png")
    ask(page, "What is this?")
    answer(page)
    page.screenshot(path=folder / "page-answer.png")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Texts, one a line").fill("a dog\na violin\nrain")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("table.heat tbody tr").nth(2).wait_for()
    page.screenshot(path=folder / "page-compare.png")
    page.get_by_role("tab", name="Status").click()
    page.get_by_role("heading", name="Models").wait_for()
    page.screenshot(path=folder / "page-status.png")


def main(url: str, folder: str) -> None:
    from playwright.sync_api import sync_playwright  # only where pictures are taken by hand

    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=FLAGS)
        page = chromium.new_page()
        page.goto(url)
        take(page, Path(folder))
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
