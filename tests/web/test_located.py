"""Places by a real model, `models/panda-locate`, behind the worker: found, drawn, joined with phrases, asked about."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from tests.web.acts import FILES, ask, done

if TYPE_CHECKING:
    from playwright.sync_api import Page

MODEL_S = 300  # seconds that an answer may take on a busy machine
WATCH = """() => {
    window.drawn = [];
    const note = () => {
        const answer = document.querySelector("article.answer");
        const now = JSON.stringify([answer?.dataset.state, answer?.querySelectorAll(".found rect").length]);
        if (window.drawn.at(-1) !== now) window.drawn.push(now);
    };
    new MutationObserver(note).observe(document, { subtree: true, childList: true, attributes: true });
}"""


@pytest.fixture(scope="module")
def model(root: Path) -> Iterator[Runtime]:
    folder = root / "models/panda-locate"
    if not (folder / "config.json").is_file():
        pytest.skip("models/panda-locate is not in this checkout")
    # Both named, so that no trial at load looks for the fastest.
    with closing(
        load_model(folder, RuntimeOptions(dtype="int8", runner="torch", max_sequences=2, verify=False))
    ) as runtime:
        yield runtime


@pytest.fixture
def runtime(model: Runtime) -> Runtime:
    """In the place of the fake one."""
    return model


@pytest.mark.timeout(600)
def test_a_real_models_boxes_stream_join_their_phrases_and_can_be_asked_about(page: "Page", root: Path) -> None:
    page.set_default_timeout(MODEL_S * 1000)
    page.locator(FILES).first.set_input_files(str(root / "models/panda-locate/scene.png"))
    page.get_by_label("Task").select_option("grounding")
    page.evaluate(WATCH)
    ask(page, "Describe this image in detail.")
    done(page)
    phrases, boxes = page.locator("article.answer .phrase"), page.locator("article.answer .found rect")
    boxes.first.wait_for()
    drawn = [json.loads(one) for one in page.evaluate("window.drawn")]
    assert any(state == "streaming" and count for state, count in drawn), drawn
    assert boxes.count() == page.locator("article.answer .found li").count() >= 1
    assert not set("<>{}") & set(page.locator("article.answer .text").inner_text())
    phrases.first.hover()
    joined = page.locator("article.answer .found rect.marked")
    assert joined.count() == len((phrases.first.get_attribute("data-boxes") or "").split())
    sides = [int(joined.first.get_attribute(name) or 0) / 1000 for name in ("x", "y", "width", "height")]

    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Task").select_option("default")
    page.locator(FILES).first.set_input_files(str(root / "models/panda-locate/scene.png"))
    draw(page, *sides)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is this?")
    body = sent.value.post_data_json
    assert body["task"] == "identify"
    assert body["boxes"][0] == pytest.approx([sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3]], abs=0.03)
    done(page)
    assert page.locator("article.answer .text").inner_text().strip()


def draw(page: "Page", left: float, top: float, width: float, height: float) -> None:
    """Over the picture of the message, by the mouse; shares of its sides."""
    area = page.locator(".composer .over-picture svg")
    area.wait_for()
    area.scroll_into_view_if_needed()
    size = area.bounding_box()
    assert size
    corners = [(left, top), (left + width / 2, top + height / 2), (left + width, top + height)]
    places = [(size["x"] + x * size["width"], size["y"] + y * size["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
