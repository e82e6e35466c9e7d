"""axe-core finds nothing at all, of any impact, in every state of the page: light and dark, on a desk and on a phone.

Lighthouse's accessibility score is the weighted share of axe-core's rules that pass, so that a page on which no rule
fails has 100. Contrast, names, roles, labels, order of headings, size of targets are among the rules.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.web.acts import FILES, answer, ask, attach, done, pictures
from tests.web.places import MODEL, PIECES, stream

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIX = ("dog.png", "dog.flac", "elephant.mp4", "rocket-depth.png", "rabbit-thermal.png", "running-imu.csv")
SIZES = {"desk": (1280, 800), "phone": (360, 640)}
READ = """(count) => [...document.querySelectorAll(".composer .card")]
    .filter((card) => card.querySelector(".facts, .warning")).length >= count"""
Findings = list[tuple[str, str, str]]


def axe() -> Any:
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture(params=SIZES)
def shown(request: pytest.FixtureRequest, tab: "Page", scheme: str) -> "Page":
    """A blank tab of this size and scheme."""
    width, height = SIZES[request.param]
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=scheme)
    return tab


def findings(page: "Page", state: str) -> Findings:
    """Rule and place of each violation."""
    page.evaluate("Object.defineProperty(document, 'currentScript', { value: null, configurable: true })")
    violations = axe().run(page).response["violations"]
    return [(state, rule["id"], node["html"]) for rule in violations for node in rule["nodes"]]


def test_the_conversation_with_media_menus_and_dialogs(shown: "Page", url: str, tmp_path: Path) -> None:
    shown.goto(url)
    found = findings(shown, "welcome")
    np.savetxt(tmp_path / "box.xyz", np.random.default_rng(0).uniform(0, 1, (50, 3)))
    (tmp_path / "words-text.txt").write_text("a violin")
    attach(shown, *SIX)
    shown.locator(FILES).first.set_input_files([str(tmp_path / "box.xyz"), str(tmp_path / "words-text.txt")])
    shown.get_by_label("Rate").fill("50")
    shown.get_by_label("Rate").blur()
    shown.wait_for_function(READ, arg=len(SIX) + 1)  # all files
    for name in ("Settings", "Examples", "Record"):
        shown.locator("summary", has_text=name).click()
    shown.locator(".menu-items button").nth(6).wait_for()
    found += findings(shown, "media, menus, settings")
    for name in ("rocket-depth.png", "rabbit-thermal.png"):  # they want a unit before they can be sent
        shown.get_by_role("button", name=f"Remove {name}").click()
    ask(shown, "# What\n- is `this`?")
    answer(shown)
    found += findings(shown, "answer")
    shown.get_by_role("button", name="As code").click()
    found += findings(shown, "code")
    shown.get_by_role("button", name="Close").click()
    shown.get_by_role("button", name="Record motion").click()
    found += findings(shown, "recording")
    shown.get_by_role("button", name="Cancel").click()
    shown.get_by_label("Longest answer (tokens)").fill("99999")
    ask(shown, "Hello")
    shown.locator("article.answer [role=alert]").wait_for()
    assert not found + findings(shown, "refusal")


def test_places_of_a_picture(shown: "Page", url: str) -> None:
    body = stream(*PIECES) + "data: [DONE]\n\n"
    shown.route("**/v1/models", lambda route: route.fulfill(json={"data": [MODEL]}))
    shown.route("**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    shown.goto(url)
    pictures(shown, "dog.png")
    shown.get_by_label("Box to ask about").fill("0.25, 0.25, 0.75, 0.75")
    found = findings(shown, "a box")
    ask(shown, "What is where?")
    done(shown)
    shown.locator(".found rect").nth(1).wait_for()
    assert not found + findings(shown, "places")


def test_comparing_and_status(shown: "Page", url: str, root: Path, tmp_path: Path) -> None:
    shown.goto(url)
    shown.get_by_role("tab", name="Compare").click()
    shown.get_by_label("Texts, one a line").fill("a dog\na violin\nrain")
    shown.get_by_label("Media", exact=True).set_input_files(str(root / "samples/dog.png"))
    shown.locator(".compare .card .facts").wait_for()
    shown.get_by_role("button", name="Compare", exact=True).click()
    shown.locator("table.heat tbody tr").nth(3).wait_for()
    for name in ("dog", "cat"):
        (tmp_path / f"{name}.png").write_bytes((root / f"samples/{name}.png").read_bytes())
    shown.get_by_label("Folder, chosen or dropped here").set_input_files(str(tmp_path))
    shown.get_by_text("2 of 2 pictures are ready.").wait_for()
    shown.get_by_label("By words").fill("a dog")
    shown.get_by_role("button", name="Search", exact=True).click()
    shown.locator(".hits li").nth(1).wait_for()
    found = findings(shown, "matrix and hits")
    shown.get_by_role("tab", name="Status").click()
    shown.get_by_role("heading", name="fake").wait_for()
    assert not found + findings(shown, "status")
