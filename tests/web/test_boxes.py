"""Places in a picture: drawn to ask about, found by an answer, joined with the phrases that name them."""

from typing import TYPE_CHECKING

import pytest

from tests.web.acts import answer, ask, done, pictures
from tests.web.places import MODEL, PIECES, stream

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def places(tab: "Page", url: str) -> "Page":
    """The page before a model that names places and answers with a dog and a cat."""
    body = stream(*PIECES) + "data: [DONE]\n\n"
    tab.route("**/v1/models", lambda route: route.fulfill(json={"data": [MODEL]}))
    tab.route("**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    tab.goto(url)
    return tab


def test_a_written_box_is_asked_about(places: "Page") -> None:
    pictures(places, "dog.png")
    places.get_by_label("Box to ask about").fill("0.25, 0.25, 0.75, 0.75")
    with places.expect_request("**/v1/chat/completions") as sent:
        ask(places, "What is this?")
    body = sent.value.post_data_json
    assert (body["task"], body["boxes"], body["boxes_unit"]) == ("identify", [[0.25, 0.25, 0.75, 0.75]], "fraction")
    done(places)
    places.get_by_role("button", name="Edit and ask again").click()
    assert places.get_by_label("Box to ask about").input_value() == "0.25, 0.25, 0.75, 0.75"


def test_a_box_is_drawn_by_the_mouse(places: "Page") -> None:
    pictures(places, "dog.png")
    area = places.locator(".composer .over-picture svg")
    area.wait_for()
    size = area.bounding_box()
    assert size
    places.mouse.move(size["x"] + 0.6 * size["width"], size["y"] + 0.7 * size["height"])
    places.mouse.down()
    places.mouse.move(size["x"] + 0.1 * size["width"], size["y"] + 0.2 * size["height"], steps=4)
    places.mouse.up()
    drawn = [float(side) for side in places.get_by_label("Box to ask about").input_value().split(", ")]
    assert drawn == pytest.approx([0.1, 0.2, 0.6, 0.7], abs=0.02)
    with places.expect_request("**/v1/chat/completions") as sent:
        ask(places, "What is this?")
    assert sent.value.post_data_json["boxes"] == [drawn]


def test_a_finger_draws_a_box_and_does_not_scroll(browser: "Browser", url: str) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 500}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [MODEL]}))
    page.goto(url)
    pictures(page, "dog.png")
    area = page.locator(".composer .over-picture svg")
    area.scroll_into_view_if_needed()
    size, before = area.bounding_box(), page.evaluate("scrollY")
    assert size
    touch = context.new_cdp_session(page)
    for step in range(9):
        share = 0.1 + step * 0.1
        point = {"x": size["x"] + 0.5 * size["width"], "y": size["y"] + (1 - share) * size["height"]}
        points = [{**point, "x": point["x"] + step * 3}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    _, top, _, bottom = (float(side) for side in page.get_by_label("Box to ask about").input_value().split(", "))
    assert (top, bottom) == pytest.approx((0.1, 0.9), abs=0.03)
    assert page.evaluate("scrollY") == before
    context.close()


def test_places_are_drawn_over_the_last_picture_and_joined_with_their_phrases(places: "Page") -> None:
    pictures(places, "first.png", "second.png")
    ask(places, "What is where?")
    done(places)
    text = places.locator("article.answer .text")
    assert text.inner_text() == "I see a dog and a cat."
    picture = places.locator("article.answer .found img")
    picture.wait_for()
    assert picture.get_attribute("alt") == "second.png"
    dog, cat = places.locator(".found rect").first, places.locator(".found rect").last
    assert [dog.get_attribute(name) for name in ("x", "y", "width", "height")] == ["100", "200", "500", "600"]
    in_list, in_text = places.locator(".found li", has_text="a dog"), text.locator(".phrase", has_text="a dog")
    for hovered in (in_list, in_text, dog):
        # the place of the dog that the cat does not cover
        hovered.hover(position={"x": 4, "y": 4})
        marked = [
            "marked" in (one.get_attribute("class") or "").split()
            for one in (in_list, in_text, dog, cat, places.locator(".found li", has_text="a cat"))
        ]
        assert marked == [True, True, True, False, False]
        places.mouse.move(0, 0)
        assert places.locator("article.answer .marked").count() == 0


def test_places_are_still_there_after_a_reload(places: "Page") -> None:
    pictures(places, "dog.png")
    ask(places, "What is where?")
    done(places)
    places.reload()
    places.locator(".found rect").nth(1).wait_for()
    places.wait_for_function("document.querySelector('.found img').naturalWidth > 0")
    assert places.locator("article.answer .text").inner_text() == "I see a dog and a cat."


def test_markup_that_has_only_begun_is_not_shown(page: "Page") -> None:
    shown = page.evaluate(
        """async (pieces) => {
            const { growing } = await import("/page/js/core/markdown.js");
            const box = document.createElement("div");
            const write = growing(box, true);
            let text = "";
            return Array.from(pieces.join(""), (sign) => { write((text += sign)); return box.textContent; });
        }""",
        [content for content, _ in PIECES],
    )
    assert shown[-1] == "I see a dog and a cat."
    assert not [text for text in shown if set("<>{}") & set(text)]


def test_a_task_is_chosen_and_goes_with_a_box(places: "Page") -> None:
    pictures(places, "dog.png")
    places.get_by_label("Task").select_option("refer")
    with places.expect_request("**/v1/chat/completions") as sent:
        ask(places, "Where is the dog?")
    assert sent.value.post_data_json["options"] == {"task": "refer"}
    assert "boxes" not in sent.value.post_data_json
    done(places)
    places.get_by_label("Task").select_option("identify")
    pictures(places, "dog.png")
    places.get_by_label("Box to ask about").fill("0, 0, 1, 1")
    with places.expect_request("**/v1/chat/completions") as sent:
        ask(places, "What is this?")
    assert sent.value.post_data_json["options"] == {"task": "identify"}
    assert "task" not in sent.value.post_data_json, "given twice it would be refused"


def test_the_list_of_models_says_what_each_takes_and_examples_fit_it(places: "Page") -> None:
    assert places.get_by_label("Model").locator("option").all_inner_texts() == ["places: picture"]
    places.locator("summary", has_text="Examples").click()
    names = places.locator(".menu-items button")
    names.first.wait_for()
    assert {name.rpartition(".")[2] for name in names.all_inner_texts()} == {"png"}
    assert not [name for name in names.all_inner_texts() if "-depth" in name or "+" in name]


def test_a_model_without_places_draws_no_boxes(page: "Page") -> None:
    pictures(page, "dog.png")
    page.locator(".composer .card .preview img").wait_for()
    assert page.get_by_label("Box to ask about").count() == 0
    assert page.get_by_label("Task").count() == 0
    ask(page, "What is this?")
    assert answer(page)
