"""Requests as code: the page shows the request that it has sent, and the code runs when pasted."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.gateway.state import GatewayState
from tests.fakes import FakeRuntime
from tests.web.acts import answer, ask, attach

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

KEY = "a-key-for-the-code"
COMMANDS = {
    "curl": ["bash", "-c"],
    "Python": [sys.executable, "-c"],
    "JavaScript": ["node", "--input-type=module", "-e"],
}
MATRIX, SEARCH = (f"section[aria-labelledby={name}]" for name in ("matrix", "search"))
TRICKY = ("@dog.png", "<dog.png", 'it\'s "so"; $HOME `id` \\n; type=x', "two\nlines")


def code_of(page: "Page", place: str = "main") -> dict[str, str]:
    page.locator(place).get_by_role("button", name="As code").click()
    code, found = page.locator("dialog pre"), {}
    for name in COMMANDS:
        page.get_by_role("button", name=name, exact=True).click()
        found[name] = code.inner_text()
    page.get_by_role("button", name="Close").click()
    return found


def run(codes: Mapping[str, Sequence[str]], folder: Path, env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Output of each program, all at the same time: all of the events of curl, the answer of the others.

    Skips where a language is not on this machine.
    """
    given = {**os.environ, **(env or {}), "NO_PROXY": "*"}
    for name in codes:
        if shutil.which(COMMANDS[name][0]) is None:
            pytest.skip(f"no {COMMANDS[name][0]} on this machine")
    with contextlib.ExitStack() as stack:
        running = {
            name: [stack.enter_context(_started([*COMMANDS[name], code], folder, given)) for code in programs]
            for name, programs in codes.items()
        }
        return {name: [_printed(one) for one in programs] for name, programs in running.items()}


def _started(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _printed(process: subprocess.Popen[str]) -> str:
    printed, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    return printed


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


def test_the_whole_request_is_in_the_code(page: "Page", root: Path) -> None:
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
    for name, (printed,) in run({name: [code] for name, code in code_of(page).items()}, root / "samples").items():
        assert same(name, said, printed), name


def test_curl_sends_prompts_as_they_are(page: "Page", root: Path) -> None:
    seeded(page)
    page.get_by_label("Shout").select_option("yes")
    said, code = [], []
    for prompt in TRICKY:
        attach(page, "dog.png", "running-imu.csv")
        page.get_by_label("Rate").fill("50")
        page.get_by_label("Rate").blur()
        ask(page, prompt)
        said.append(answer(page))
        code.append(code_of(page)["curl"])
        page.get_by_role("button", name="New conversation").click()
    assert all("/v1/generate" in one for one in code), "one form is enough"
    for prompt, words, printed in zip(TRICKY, said, run({"curl": code}, root / "samples")["curl"], strict=True):
        assert same("curl", words, printed), prompt


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
    ran = run({name: [form[name], script[name]] for name in COMMANDS}, tmp_path)
    for name, (of_form, of_script) in ran.items():
        assert same(name, first, of_form), name
        assert same(name, second, of_script), name


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
    ran = run({name: [code[name]] for name in COMMANDS}, root / "samples", {"PANDAGPT_CLIENT_KEY": KEY})
    for name, (printed,) in ran.items():
        assert same(name, said, printed), name


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


def test_the_code_of_a_comparison_gives_its_vectors(page: "Page", root: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Texts, one a line").fill('a dog\nit\'s "so"; $HOME')
    media = [str(root / "samples" / name) for name in ("dog.png", "running-imu.csv")]
    page.get_by_label("Media", exact=True).set_input_files(media)
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    with page.expect_response("**/v1/embeddings") as answered:
        page.get_by_role("button", name="Compare", exact=True).click()
    wanted = [one["embedding"] for one in answered.value.json()["data"]]
    assert len(wanted) == 4
    codes = {name: [code] for name, code in code_of(page, MATRIX).items()}
    for name, (printed,) in run(codes, root / "samples").items():
        lines = printed.splitlines()
        found = [one["embedding"] for one in json.loads(printed)["data"]] if name == "curl" else map(json.loads, lines)
        assert list(found) == [pytest.approx(vector, abs=1e-6) for vector in wanted], name


@pytest.mark.parametrize("medium", [None, "dog.flac"])
def test_the_code_of_a_search_prints_the_pages_hits(
    page: "Page", root: Path, tmp_path: Path, medium: str | None
) -> None:
    names = {"dog.png": "dog.png", "deep/it's $cat.png": "cat.png", "deep/er/banana.png": "banana.png"}
    (tmp_path / "deep/er").mkdir(parents=True)
    for name, sample in names.items():
        (tmp_path / name).write_bytes((root / "samples" / sample).read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.get_by_role("tab", name="Compare").click()
    page.locator(SEARCH).get_by_role("button", name="As code").click()
    page.get_by_text("Choose a folder, and words or a file to look for.").wait_for()
    page.get_by_label("Folder, chosen or dropped here").set_input_files(str(tmp_path))
    page.get_by_text("3 of 4 pictures are ready.").wait_for()
    if medium is None:
        page.get_by_label("By words").fill('it\'s "so"; $HOME')
    else:
        shutil.copy(root / "samples" / medium, tmp_path)
        page.get_by_label("Or by a sound, a picture, any medium").set_input_files(str(tmp_path / medium))
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".hits li").nth(2).wait_for()
    hits = [words.rsplit(": ", 1) for words in page.locator(".hits li").all_inner_texts()]
    paths = {Path(name).name: name for name in names}
    wanted = [f"{score} {paths[name]}" for name, score in hits]
    codes = {name: [code] for name, code in code_of(page, SEARCH).items()}
    for name, (printed,) in run(codes, tmp_path).items():
        assert printed.splitlines() == wanted, name


def test_the_code_is_copied(page: "Page", runtime: FakeRuntime) -> None:
    ask(page, "Hello")
    answer(page)
    page.get_by_role("button", name="As code").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Copy").click()
    dialog.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == dialog.locator("pre").inner_text()
