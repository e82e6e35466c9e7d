"""Requests as code: what is shown is the request that the page has sent, and it runs when pasted."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.gateway.state import GatewayState
from tests.fakes import FakeRuntime
from tests.web.test_chat import answer, ask
from tests.web.test_media import attach

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

KEY = "a-key-for-the-code"
COMMANDS = {
    "curl": ["bash", "-c"],
    "Python": [sys.executable, "-c"],
    "JavaScript": ["node", "--input-type=module", "-e"],
}
TRICKY = ("@dog.png", "<dog.png", 'it\'s "so"; $HOME `id` \\n; type=x', "two\nlines")


def code_of(page: "Page") -> dict[str, str]:
    page.get_by_role("button", name="As code").click()
    code, found = page.locator("dialog pre"), {}
    for name in COMMANDS:
        page.get_by_role("button", name=name, exact=True).click()
        found[name] = code.inner_text()
    page.get_by_role("button", name="Close").click()
    return found


def run(name: str, code: str, folder: Path, env: Mapping[str, str] | None = None) -> str:
    """The text that the code has got: all of the events of curl, the answer of the others."""
    given = {**os.environ, **(env or {}), "NO_PROXY": "*"}
    try:
        done = subprocess.run(
            [*COMMANDS[name], code], cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=True
        )
    except FileNotFoundError:
        pytest.skip(f"no {COMMANDS[name][0]} on this machine")
    return done.stdout


def seeded(page: "Page") -> None:
    """So that a request sent twice gets the same answer."""
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("Seed").fill("7")


def same(name: str, said: str, printed: str) -> bool:
    """The answer of the fake model follows from the whole request, so that the same words mean the same request."""
    words = said.split()
    if name != "curl":
        return printed.split() == words
    return all(word in printed for word in words)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_whole_request_is_in_the_code(page: "Page", root: Path, name: str) -> None:
    """Media of an earlier turn, settings, a system prompt, an option, weights and parameters."""
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("System prompt").fill("It's brief; mind.")
    page.get_by_label("Temperature (0 to 2)").fill("0.5")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Shout").select_option("yes")
    attach(page, "dog.png", "running-imu.csv")
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    page.locator("input[type=range]").first.fill("2")
    ask(page, TRICKY[0])
    answer(page)
    attach(page, "violin.txt")
    ask(page, TRICKY[2])
    said = answer(page)
    assert same(name, said, run(name, code_of(page)[name], root / "samples"))


@pytest.mark.parametrize("prompt", TRICKY)
def test_curl_sends_prompts_as_they_are(page: "Page", root: Path, prompt: str) -> None:
    seeded(page)
    attach(page, "dog.png", "running-imu.csv")
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    page.get_by_label("Shout").select_option("yes")
    ask(page, prompt)
    said = answer(page)
    code = code_of(page)["curl"]
    assert "/v1/generate" in code, "one form is enough"
    assert same("curl", said, run("curl", code, root / "samples"))


def test_a_files_name_may_have_any_sign(page: "Page", root: Path, tmp_path: Path) -> None:
    name = 'it\'s "a"; $dog,.png'
    (tmp_path / name).write_bytes((root / "samples/dog.png").read_bytes())
    seeded(page)
    page.locator("input[type=file]").first.set_input_files(str(tmp_path / name))
    ask(page, "Hello")
    first = answer(page)
    form = code_of(page)
    ask(page, "Again")
    second = answer(page)
    script = code_of(page)
    assert "$(upload" in script["curl"], "a form has no media of earlier turns"
    for name in COMMANDS:
        assert same(name, first, run(name, form[name], tmp_path))
        assert same(name, second, run(name, script[name], tmp_path))


def test_a_key_is_read_from_the_environment(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: object,
    browser_context: "BrowserContext",
    root: Path,
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"someone {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    url, _ = start_gateway(keys_file=keys)
    page = browser_context.new_page()
    page.goto(url)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    seeded(page)
    attach(page, "dog.png")
    ask(page, "Hello")
    said = answer(page)
    code = code_of(page)
    assert KEY not in "".join(code.values())
    for name in COMMANDS:
        assert same(name, said, run(name, code[name], root / "samples", {"PANDAGPT_CLIENT_KEY": KEY}))


def test_the_code_of_a_box_has_the_box(page: "Page") -> None:
    code = page.evaluate(
        """async () => {
            const { python } = await import("/page/js/code/python.js");
            const { curl } = await import("/page/js/code/curl.js");
            const text = { type: "text", text: "What is this?" };
            const messages = [{ role: "user", content: [text] }];
            const body = { model: "m", task: "identify", boxes: [[0, 0, 0.5, 1]], boxes_unit: "fraction", messages };
            const request = { origin: "http://h", body: { ...body, stream: true }, files: new Map(), keyed: false };
            return { python: python(request), curl: curl(request) };
        }"""
    )
    assert "True" in code["python"]
    assert 'extra_body={"task": "identify", "boxes": [[0, 0, 0.5, 1]], "boxes_unit": "fraction"}' in code["python"]
    for field in ("task=identify", "boxes=[[0,0,0.5,1]]", "boxes_unit=fraction", "stream=true"):
        assert f"--form-string '{field}'" in code["curl"]


def test_the_code_is_copied(page: "Page", runtime: FakeRuntime) -> None:
    ask(page, "Hello")
    answer(page)
    page.get_by_role("button", name="As code").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy").click()
    dialog.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == dialog.locator("pre").inner_text()
