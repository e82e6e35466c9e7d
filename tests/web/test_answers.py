"""An answer as it is seen: it grows in place, can be copied, has its figures, and outlives a lost network."""

import re
from typing import TYPE_CHECKING, Any

from tests.fakes import ANSWER_TOKENS, FakeRuntime
from tests.web.acts import answer, ask, attach, resumed
from tests.web.proxy import cuttable

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

BREAKS = 8


def test_an_answer_without_boxes_has_its_words_and_figures_alone(page: "Page") -> None:
    ask(page, "Hello")
    said = answer(page)
    figures = page.locator("article.answer .figures").inner_text()
    lines = page.locator("article.answer").inner_text().split("\n")
    assert [line for line in lines if line] == [said, figures, "Copy"]


def test_what_is_there_stays_while_an_answer_grows(page: "Page", runtime: FakeRuntime) -> None:
    """Nothing that has not changed is taken out and put back: focus stays, and screen readers do not begin anew."""
    runtime.hold_after = 3
    ask(page, "A story")
    page.locator("article.answer .text p").wait_for()
    page.evaluate(
        """() => {
            window.moved = 0;
            const watch = new MutationObserver((changes) => changes.forEach(({ removedNodes }) =>
                removedNodes.forEach((node) => (window.moved += node.matches?.("article, .cards, .text") ? 1 : 0))));
            watch.observe(document.querySelector(".log"), { childList: true, subtree: true });
        }"""
    )
    page.get_by_role("button", name="Edit and ask again").focus()
    assert page.locator("article.answer").get_attribute("aria-busy") == "true"
    runtime.hold_after = None
    answer(page)
    assert page.locator("article.answer").get_attribute("aria-busy") == "false"
    assert page.evaluate("document.activeElement.textContent") == "Edit and ask again"
    assert page.evaluate("window.moved") == 0


def test_finished_paragraphs_are_not_made_anew(page: "Page") -> None:
    same = page.evaluate(
        """async () => {
            const { growing } = await import("/page/js/core/markdown.js");
            const box = document.createElement("div");
            const write = growing(box, false);
            write("One.\\n\\nTw");
            const [first, second] = box.children;
            write("One.\\n\\nTwo.\\n- a\\n- b");
            return [box.children[0] === first, box.children[1] === second, box.lastChild.tagName];
        }"""
    )
    assert same == [True, False, "UL"]


def copied(page: "Page") -> str:
    """The text of Ctrl+V after a click on Copy."""
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    page.get_by_label("Your message").press("Control+v")
    return page.get_by_label("Your message").input_value().strip()


def test_an_answer_is_copied(page: "Page") -> None:
    ask(page, "Hello")
    said = answer(page)
    assert copied(page) == said


def test_plain_http_from_another_machine_asks_too(browser_context: "BrowserContext", url: str) -> None:
    """No secure context there: no `crypto.randomUUID`, no clipboard, no camera."""
    page = browser_context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url.replace("127.0.0.1", "panda.test"))
    assert page.evaluate("[isSecureContext, 'randomUUID' in crypto]") == [False, False]
    attach(page, "dog.png")
    ask(page, "What is this?")
    said = answer(page)
    assert "<image:" in said
    assert copied(page) == said
    for name in ("Take a picture", "Record motion"):
        page.locator("summary", has_text="Record").click()
        page.get_by_role("button", name=name).click()
        assert "https" in page.get_by_role("alert").inner_text()
        page.get_by_role("button", name="Close").click()
    assert not errors


def test_known_media_and_speed_are_among_the_figures(page: "Page") -> None:
    attach(page, "dog.png")
    ask(page, "What is this?")
    answer(page)
    ask(page, "Are you sure?")
    answer(page)
    figures = page.locator(".figures").last.inner_text()
    assert re.search(r"\d+ tokens a second", figures)
    assert "1 media known already" in figures


def test_settings_and_system_prompt_go_out_and_are_kept(page: "Page") -> None:
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    values = {"Longest answer (tokens)": "5", "Temperature (0 to 2)": "0.5", "Top p (0 to 1)": "0.9", "Seed": "7"}
    for label, value in values.items():
        page.get_by_label(label).fill(value)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Hello")
    body = sent.value.post_data_json
    assert [body[name] for name in ("max_tokens", "temperature", "top_p", "seed")] == [5, 0.5, 0.9, 7]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(re.findall(r"w\d+", answer(page))) == 5
    page.reload()
    page.locator("summary", has_text="Settings").click()
    assert page.get_by_label("System prompt").input_value() == "Be brief."
    assert page.get_by_label("Seed").input_value() == "7"


def test_the_models_own_options_are_offered_and_go_out(page: "Page") -> None:
    page.get_by_label("Shout").select_option("yes")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Hello")
    assert sent.value.post_data_json["options"] == {"shout": True}
    assert answer(page).startswith("!")


def test_a_lost_network_is_waited_for(
    browser_context: "BrowserContext", url: str, runtime: FakeRuntime, seen: Any
) -> None:
    runtime.hold_after = 3
    with cuttable(url) as proxy:
        page = browser_context.new_page()
        page.goto(proxy.url)
        ask(page, "A story that goes on")
        page.locator("article.answer .text p").wait_for()
        proxy.cut()
        with page.expect_event("requestfailed", lambda request: "/events" in request.url):
            pass
        with page.expect_response(resumed):
            proxy.mend()
        runtime.hold_after = None
        said = answer(page)
    assert proxy.refused
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS  # every token once


def test_a_connection_that_falls_silent_is_made_anew(
    browser_context: "BrowserContext", url: str, runtime: FakeRuntime
) -> None:
    """No error comes of a network that was changed; the gateway's keep-alive lines stay away."""
    runtime.hold_after = 3
    with cuttable(url) as proxy:
        page = browser_context.new_page()
        page.clock.install()
        page.goto(proxy.url)
        ask(page, "A story that goes on")
        page.locator("article.answer .text p").wait_for()
        proxy.lose()
        runtime.hold_after = None
        page.wait_for_timeout(500)
        assert page.locator("article.answer").get_attribute("data-state") == "streaming"
        with page.expect_response(resumed):
            page.clock.fast_forward(31_000)
        said = answer(page)
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS  # every token once


def test_an_answer_that_goes_on_after_each_of_many_breaks_is_not_given_up(
    browser_context: "BrowserContext", url: str, runtime: FakeRuntime
) -> None:
    """More breaks than tries, with a new word between each two of them."""
    with cuttable(url) as proxy:
        page = browser_context.new_page()
        page.goto(proxy.url)
        runtime.hold_after = 1
        ask(page, "A story that goes on")
        for words in range(1, BREAKS + 1):
            page.locator("article.answer .text", has_text=re.compile(rf"(w\d+\s*){{{words}}}")).wait_for()
            proxy.cut()
            proxy.mend()
            runtime.hold_after = words + 1
        runtime.hold_after = None
        said = answer(page)
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS


def test_a_request_that_gets_lost_is_sent_again_with_its_key(page: "Page", seen: Any) -> None:
    keys: list[str] = []

    def lose_two(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.abort("connectionreset") if len(keys) < 3 else route.continue_()

    page.route("**/v1/chat/completions", lose_two)
    ask(page, "Hello")
    assert answer(page)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert all("ERR_CONNECTION_RESET" in error for error in seen.errors)  # the browser's own lines
    seen.errors.clear()


def test_a_network_that_stays_away_is_said_at_last(page: "Page", seen: Any) -> None:
    """Without the pauses between the tries."""
    page.evaluate("window.setTimeout = ((later) => (run) => later(run, 0))(window.setTimeout)")
    tries: list[str] = []
    page.route("**/v1/chat/completions", lambda route: (tries.append(""), route.abort("connectionreset")))
    ask(page, "Hello")
    assert "cannot be reached" in page.locator("article.answer [role=alert]").inner_text()
    assert len(tries) == 7
    seen.errors.clear()


def test_each_mediums_contribution_is_shown_where_it_is_asked_for(page: "Page") -> None:
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Explain (what each medium contributes)").select_option("yes")
    attach(page, "dog.png")
    ask(page, "What is it?")
    answer(page)
    shown = page.locator("article.answer .contributions")
    shown.locator("summary").click()
    assert shown.locator("li").all_inner_texts() == [f"image: +{ANSWER_TOKENS:.1f} nats"]
