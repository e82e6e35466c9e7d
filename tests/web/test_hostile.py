"""Words that would run as code in a page that is careless: in names, prompts, answers, models, options and refusals."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.acts import FILES, answer, ask, sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

# After the OWASP cheat sheet on filter evasion, and what Markdown adds.
CORPUS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'><details open ontoggle=alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<base href=//elsewhere.example/><link rel=stylesheet href=//elsewhere.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//elsewhere.example/'>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    '[x](https://a.example/"onmouseover="alert(1))',
    "![x](//elsewhere.example/x.png)",
    "`<img src=x onerror=alert(1)>`",
    "**<img src=x onerror=alert(1)>**",
    "${alert(1)} {{constructor.constructor('alert(1)')()}}",
    "<p><img src=x onerror=alert(1)></p>{<10><20><60><80>}",
    "&lt;img src=x onerror=alert(1)&gt;",
    "\u202e<img src=x onerror=alert(1)>\u0000",
)
MADE = """() => [...document.querySelectorAll("*")].filter((one) =>
    ["IFRAME", "OBJECT", "EMBED", "BASE", "META", "LINK", "SCRIPT", "STYLE", "MATH", "FORM"].includes(one.tagName)
        && !one.closest("head, dialog")
    || [...one.attributes].some(({ name, value }) => /^on/i.test(name)
        || (["src", "href", "action", "srcdoc"].includes(name) && /^\\s*(javascript|data:text|\\/\\/|x$)/i.test(value)))
).map((one) => one.outerHTML)"""


@pytest.fixture
def dialogs(tab: "Page") -> "Iterator[list[str]]":
    """Messages of dialogs that ran; empty at the end of the test."""
    shown: list[str] = []
    tab.on("dialog", lambda dialog: (shown.append(dialog.message), dialog.dismiss()))
    yield shown
    assert not shown
    assert tab.evaluate(MADE) == []


def test_names_and_prompts_run_nothing(page: "Page", dialogs: list[str]) -> None:
    for hostile in CORPUS:
        name = f"{hostile}.png".replace("/", "_").replace("\0", "")
        page.locator(FILES).first.set_input_files({"name": name, "mimeType": "image/png", "buffer": sample("dog.png")})
    cards = page.locator(".composer .card")
    cards.nth(len(CORPUS) - 1).locator(".facts").wait_for()
    assert page.evaluate(MADE) == []
    while cards.count() > 2:  # a few are enough to send
        cards.first.get_by_role("button", name="Remove").click()
    words = "\n".join(CORPUS).replace("\0", "")
    ask(page, words)
    answer(page)
    assert page.locator("article.user p").inner_text() == words
    page.get_by_role("button", name="As code").click()
    assert page.evaluate(MADE) == []


def test_answers_run_nothing_as_they_grow(page: "Page", dialogs: list[str]) -> None:
    text = "\n\n".join(CORPUS)
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    chunks = [{"id": "chatcmpl-x", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    hostile = {"label": CORPUS[1], "box_norm": [0.1, 0.2, 0.6, 0.8], "box": None}
    last = {"id": "chatcmpl-x", "choices": [{"index": 0, "delta": {"objects": [hostile]}}], "warnings": [CORPUS[1]]}
    body = "".join(f"id: {at}\ndata: {json.dumps(chunk)}\n\n" for at, chunk in enumerate([*chunks, last]))
    served = {"body": body + "data: [DONE]\n\n", "content_type": "text/event-stream"}
    page.route("**/v1/chat/completions", lambda route: route.fulfill(**served))
    ask(page, "Hello")
    page.locator("article.answer[data-state=done]").wait_for()
    links = page.locator("article.answer a").evaluate_all("(all) => all.map((one) => one.protocol)")
    assert set(links) <= {"https:"}
    assert CORPUS[0] in page.locator("article.answer .text").inner_text()


def test_models_their_options_and_refusals_run_nothing(tab: "Page", url: str, dialogs: list[str], seen: Any) -> None:
    options = [
        {"name": hostile, "kind": "string", "description": hostile, "choices": [hostile]} for hostile in CORPUS[:6]
    ]
    models = [
        {"id": hostile, "system": hostile, "version": hostile, "input_modalities": [hostile], "max_model_len": hostile}
        for hostile in CORPUS
    ]
    listed = {"data": [{**one, "recipes": {}, "media_parameters": {}, "options": options} for one in models]}
    refusal = {"error": {"message": " ".join(CORPUS), "code": CORPUS[1], "param": CORPUS[1]}}
    tab.route("**/v1/models", lambda route: route.fulfill(json=listed))
    tab.route("**/v1/chat/completions", lambda route: route.fulfill(status=400, json=refusal))
    tab.goto(url)
    ask(tab, "Hello")
    tab.locator("article.answer [role=alert]").wait_for()
    assert tab.evaluate(MADE) == []
    tab.get_by_role("tab", name="Status").click()
    tab.get_by_role("heading", name=CORPUS[0], exact=True).wait_for()
    assert tab.locator(".status-view section").count() == len(CORPUS)
