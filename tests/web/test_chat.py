"""The conversation, as a person uses it in a browser."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pandagpt_core.modalities import MODALITIES
from service.gateway.state import GatewayState
from tests.fakes import ANSWER_TOKENS, FakeRuntime, WorkerThread, worker_process
from tests.web.acts import answer, ask, resumed

if TYPE_CHECKING:
    from playwright.sync_api import Page

GROUPS = json.loads((Path(__file__).parents[2] / "samples/asks.json").read_text())


def test_words_are_answered_with_figures(page: "Page") -> None:
    ask(page, "Hello there")
    assert re.search(r"w\d+", answer(page))
    figures = page.locator(".figures").inner_text()
    assert re.search(r"first word after \d+\.\d\d s · \d+ tokens read · \d+ written", figures)


def test_every_sample_and_mix_is_asked_by_one_click(page: "Page") -> None:
    for group in GROUPS:
        page.locator("summary", has_text="Examples").click()
        page.get_by_role("button", name=" + ".join(one["file"] for one in group), exact=True).click()
        page.locator(".composer .card").nth(len(group) - 1).wait_for()
        page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Your message'")
        page.keyboard.press("Enter")  # the question is there too
        said = answer(page)
        assert all(f"<{one['modality']}:" in said for one in group), group
        page.get_by_role("button", name="New conversation").click()
    assert {one["modality"] for group in GROUPS for one in group} == set(MODALITIES)


def test_a_follow_up_sends_the_whole_conversation(page: "Page") -> None:
    ask(page, "First")
    answer(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Second")
    messages = sent.value.post_data_json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert answer(page)


def test_an_edited_question_takes_the_place_of_the_old_one(page: "Page") -> None:
    ask(page, "Frist")
    answer(page)
    page.get_by_role("button", name="Edit and ask again").click()
    assert page.locator("article").count() == 0
    assert page.get_by_label("Your message").input_value() == "Frist"
    ask(page, "First")
    answer(page)
    assert page.locator("article.user p").all_inner_texts() == ["First"]


def test_stop_ends_the_answer_and_its_request(page: "Page", runtime: FakeRuntime) -> None:
    runtime.hold_after = 3
    ask(page, "A long story")
    page.locator("article.answer .text p").wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        page.get_by_role("button", name="Stop").click()
    assert ended.value.ok
    assert "/v1/requests/" in ended.value.url
    page.get_by_text("Stopped.", exact=True).wait_for()
    assert page.get_by_role("button", name="Ask", exact=True).is_enabled()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Your message"


def test_a_reload_in_the_middle_goes_on_with_the_answer(page: "Page", runtime: FakeRuntime) -> None:
    runtime.hold_after = 3
    ask(page, "A story that goes on")
    page.locator("article.answer .text p").wait_for()
    with page.expect_response(resumed):
        page.reload()
    runtime.hold_after = None
    said = answer(page)
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS  # every token once


def test_a_refusal_is_a_sentence_with_the_limit(page: "Page", seen: Any) -> None:
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("Longest answer (tokens)").fill("99999")
    ask(page, "Hello")
    words = page.locator("article.answer [role=alert]").inner_text()
    assert "99999" in words
    assert "8192" in words
    assert all("400" in error for error in seen.errors)  # the browser's own line about the status
    seen.errors.clear()


def test_the_keyboard_alone_asks_and_reads(page: "Page") -> None:
    page.get_by_label("Your message").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Your message":
            break
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    assert answer(page)


def test_answers_are_shown_as_safe_markdown(page: "Page") -> None:
    hostile = "<img src=x onerror=alert(1)> [l](javascript:alert(1))"
    written = f"# Title\n**bold** `x<y`\n\n- one\n- two\n\n{hostile} [ok](https://a.example/)"
    made = page.evaluate(
        """async (written) => {
            const { markdown } = await import("/page/js/core/markdown.js");
            const box = document.createElement("div");
            box.append(markdown(written));
            const tags = [...box.querySelectorAll("*")].map((one) => one.tagName.toLowerCase());
            return { text: box.textContent, tags, links: [...box.querySelectorAll("a")].map((one) => one.href) };
        }""",
        written,
    )
    assert {"h3", "strong", "code", "ul", "li"} <= set(made["tags"])
    assert "img" not in made["tags"]
    assert made["links"] == ["https://a.example/"]
    assert "<img src=x onerror=alert(1)>" in made["text"]


def test_numbered_items_keep_their_numbers(page: "Page") -> None:
    starts = page.evaluate(
        """async () => {
            const { markdown } = await import("/page/js/core/markdown.js");
            const lists = markdown("1. One\\n2. Two\\n\\n3. Three\\n\\n4. Four").querySelectorAll("ol");
            return [...lists].map((one) => one.start);
        }"""
    )
    assert starts == [1, 3, 4]


def test_a_page_that_is_there_before_the_first_model_waits_for_it(page: "Page") -> None:
    """The question that was written meanwhile goes out then."""
    empty = 2

    def few(route: Any) -> None:
        nonlocal empty
        empty -= 1
        route.fulfill(json={"data": []}) if empty >= 0 else route.continue_()

    page.route("**/v1/models", few)
    page.reload()
    page.get_by_text("No model is ready yet.").wait_for()
    ask(page, "Hello")
    assert answer(page)
    assert page.get_by_text("No model is ready yet.").count() == 0


def test_another_gateway_goes_on_with_the_answer(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: WorkerThread,
    runtime: FakeRuntime,
    browser_context: Any,
) -> None:
    """As a load balancer does with a reload: the tab's state is the page's, the gateway is another."""
    runtime.hold_after = 3
    (first, _), (second, _) = start_gateway(), start_gateway()
    page = browser_context.new_page()
    page.goto(first)
    ask(page, "A story that goes on")
    page.locator("article.answer .text p").wait_for()
    kept = page.evaluate("Object.entries(sessionStorage)")
    page.goto("about:blank")
    page.goto(f"{second}/version")
    page.evaluate("(kept) => kept.forEach(([name, value]) => sessionStorage.setItem(name, value))", kept)
    with page.expect_response(resumed):
        page.goto(second)
    runtime.hold_after = None
    said = answer(page)
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS


def test_a_stream_goes_on_when_its_worker_is_killed(page: "Page", valkey: Any, worker: WorkerThread) -> None:
    """The thread's worker leaves, two processes come; the one that answers is killed in the middle."""
    worker.drain(0)
    worker.join()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(worker_process(valkey.settings, step_delay=0.5, lost_after_s=1.0))
        page.reload()
        page.get_by_label("Your message").wait_for()
        ask(page, "A story that goes on")
        page.locator("article.answer .text p").wait_for()
        stack.enter_context(worker_process(valkey.settings, step_delay=0.02, lost_after_s=1.0))
        first.kill()
        said = answer(page)
    assert len(re.findall(r"w\d+", said)) == ANSWER_TOKENS


def test_words_typed_during_an_answer_wait_for_its_end(page: "Page", runtime: FakeRuntime) -> None:
    runtime.hold_after = 3
    ask(page, "A long story")
    page.locator("article.answer .text p").wait_for()
    page.get_by_label("Your message").fill("And then?")
    page.keyboard.press("Enter")
    runtime.hold_after = None
    answer(page)
    assert page.locator("article.user").count() == 1
    assert page.get_by_label("Your message").input_value() == "And then?"


def test_words_are_taken_before_the_models_are_known(page: "Page") -> None:
    """The list of models comes late; what was asked before goes out with the model's name."""
    page.add_init_script(
        """const send = window.fetch;
        window.fetch = async (path, ...more) => {
            if (path === "/v1/models") await new Promise((resolve) => { window.bringModels = resolve; });
            return send(path, ...more);
        };"""
    )
    page.reload()
    page.get_by_label("Your message").fill("Hello")
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 0
    with page.expect_request("**/v1/chat/completions") as sent:
        page.evaluate("window.bringModels()")
    assert sent.value.post_data_json["model"] == "fake"
    assert answer(page)
