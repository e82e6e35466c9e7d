"""The page around the conversation: speed, keys, phone width, code, comparing, status, accessibility."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from service.gateway.access.auth import read_keys
from service.gateway.state import GatewayState
from service.version import version
from tests.fakes import FAKE_INFO
from tests.ports import free_port
from tests.web.acts import answer, ask, attach
from tests.web.conftest import Seen, watch
from tests.web.screenshots import SIZE, VIEWS, take

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Route

KEY = "a-key-for-the-page"


def test_a_key_is_asked_for_and_kept_for_the_tab(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: object,
    browser_context: "BrowserContext",
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"someone {hashlib.sha256(KEY.encode()).hexdigest()}\n")
    url, _ = start_gateway(keys_file=keys)
    page, seen = browser_context.new_page(), Seen()
    watch(page, url, seen)
    page.goto(url)
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use it").click()
    page.get_by_text("The key is not valid.").wait_for()
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    ask(page, "Hello")
    assert answer(page)
    page.reload()
    page.get_by_label("Your message").wait_for()
    assert page.evaluate("localStorage.length") == 0
    assert not seen.elsewhere


def test_a_key_that_becomes_invalid_is_asked_for_at_once_and_nothing_is_lost(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: object,
    browser_context: "BrowserContext",
    tmp_path: Path,
) -> None:
    url, gateway = start_gateway(keys_file=keys_file(tmp_path, KEY))
    page = browser_context.new_page()
    page.goto(url)
    give(page, KEY)
    page.get_by_label("Your message").wait_for()
    page.locator("#model option").first.wait_for(state="attached")
    gateway.keys.replace(read_keys(keys_file(tmp_path, "second")))
    ask(page, "Hello")
    refused(page)
    give(page, "second")
    assert answer(page)
    gateway.keys.replace(read_keys(keys_file(tmp_path, "third")))
    attach(page, "dog.png")  # the upload and what reads it wait for the same key
    refused(page)
    give(page, "third")
    ask(page, "And this?")
    assert answer(page).startswith("<image:")
    assert page.locator("article.answer").count() == 2
    assert page.locator("article.answer [role=alert]").count() == 0


def test_without_another_key_the_refusal_stands_as_a_sentence(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: object,
    browser_context: "BrowserContext",
    tmp_path: Path,
) -> None:
    url, _ = start_gateway(keys_file=keys_file(tmp_path, KEY))
    page = browser_context.new_page()
    page.goto(url)
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.locator("#trouble [role=alert]").wait_for()
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Try again").click()
    give(page, KEY)
    ask(page, "Hello")
    assert answer(page)
    assert page.locator("#trouble > *").count() == 0


def keys_file(folder: Path, key: str) -> Path:
    file = folder / "keys"
    file.write_text(f"someone {hashlib.sha256(key.encode()).hexdigest()}\n")
    return file


def refused(page: "Page") -> None:
    page.get_by_role("dialog").get_by_text("The key is not valid.").wait_for()
    assert page.get_by_role("dialog").count() == 1


def give(page: "Page", key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use it").click()


def test_a_phones_width_needs_no_sideways_scrolling(page: "Page") -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    for view in ("Compare", "Status", "Chat"):
        page.get_by_role("tab", name=view).click()
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    attach(page, "dog.png", "running-imu.csv")
    page.locator(".composer .card canvas").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_comparing_gives_a_matrix_with_ones_on_its_diagonal(page: "Page") -> None:
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Texts, one a line").fill("a dog\na violin")
    page.get_by_label("Media", exact=True).set_input_files(str(Path(__file__).parents[2] / "samples/dog.png"))
    page.locator(".compare .card .facts dt", has_text="the model gets").wait_for()
    assert page.locator(".compare .card .warning").count() == 0
    page.get_by_role("button", name="Compare", exact=True).click()
    rows = page.locator("table.heat tbody tr")
    rows.nth(2).wait_for()
    assert [rows.nth(index).locator("td").nth(index).inner_text() for index in range(3)] == ["1.00"] * 3


def test_a_folder_is_searched_by_words(page: "Page", tmp_path: Path, root: Path) -> None:
    for name in ("dog", "cat", "banana"):
        (tmp_path / f"{name}.png").write_bytes((root / f"samples/{name}.png").read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")  # it is named, and stops none of the others
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Folder, chosen or dropped here").set_input_files(str(tmp_path))
    page.get_by_text("3 of 4 pictures are ready.").wait_for()
    assert "bad.png" in page.locator("section[aria-labelledby=search] [role=status]").inner_text()
    page.get_by_label("By words").fill("a dog")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".hits li").nth(2).wait_for()
    assert {words.split(":")[0] for words in page.locator(".hits li").all_inner_texts()} == {
        "dog.png",
        "cat.png",
        "banana.png",
    }


def searched(page: "Page", folder: Path, root: Path) -> "Locator":
    """The hits of a search in a folder of two pictures."""
    folder.mkdir()
    for name in ("dog", "cat"):
        (folder / f"{name}.png").write_bytes((root / f"samples/{name}.png").read_bytes())
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Folder, chosen or dropped here").set_input_files(str(folder))
    page.get_by_text("2 of 2 pictures are ready.").wait_for()
    return page.locator(".hits li")


def test_a_search_leaves_no_file_at_the_service(page: "Page", tmp_path: Path, root: Path) -> None:
    """A folder may hold more files than a key may keep."""
    uploaded, removed = [], []
    page.on("request", lambda one: uploaded.append(one.url) if one.url.endswith("/v1/files") else None)
    page.on("requestfinished", lambda one: removed.append(one.url) if one.method == "DELETE" else None)
    hits = searched(page, tmp_path / "album", root)
    page.get_by_label("Or by a sound, a picture, any medium").set_input_files(str(root / "samples/dog.png"))
    page.get_by_role("button", name="Search", exact=True).click()
    hits.nth(1).wait_for()
    while len(removed) < 3:
        page.wait_for_timeout(50)
    assert len(uploaded) == len(set(removed)) == 3


def test_enter_searches_for_what_was_given_last(page: "Page", tmp_path: Path, root: Path) -> None:
    hits = searched(page, tmp_path / "album", root)
    page.get_by_label("Or by a sound, a picture, any medium").set_input_files(str(root / "samples/dog.png"))
    page.get_by_label("By words").fill("a cat")
    with page.expect_request("**/v1/embeddings") as sent:
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["input"] == ["a cat"]
    hits.nth(1).wait_for()


def test_another_model_reads_the_folder_anew(page: "Page", tmp_path: Path, root: Path, seen: Seen) -> None:
    """Vectors of two models cannot be compared."""

    def two(route: "Route") -> None:
        (model,) = route.fetch().json()["data"]
        route.fulfill(json={"data": [model, {**model, "id": "other"}]})

    page.route("**/v1/models", two)
    page.reload()
    searched(page, tmp_path / "album", root)
    with page.expect_request("**/v1/embeddings") as sent:
        page.locator("#model").select_option("other")
    assert sent.value.post_data_json["model"] == "other"
    assert len(sent.value.post_data_json["input"]) == 2
    page.get_by_text("0 of 2 pictures are ready.").wait_for()  # no worker has it
    assert all("404" in error for error in seen.errors)  # the browser's own lines
    seen.errors.clear()


def fact(place: "Locator", name: str) -> str:
    return place.locator("dt", has_text=re.compile(f"^{name}$")).locator("+ dd").inner_text()


def test_the_status_view_shows_models_version_workers_and_queue(page: "Page") -> None:
    page.get_by_role("tab", name="Status").click()
    page.get_by_role("heading", name="fake").wait_for()
    shown = page.locator(".status-view")
    assert "imu" in shown.inner_text()
    assert fact(shown, "version of this gateway") == version()
    rows = {tuple(row.split("\t")) for row in shown.locator("tbody tr").all_inner_texts()}
    assert ("Workers", "fake, ready", "1") in rows
    assert ("Workers by version", f"fake, {version()}", "1") in rows
    model = shown.locator("section", has=page.get_by_role("heading", name="fake"))
    assert fact(model, "version") == FAKE_INFO.version
    assert {name for name, *_ in rows} >= {"Requests that wait", "Oldest that waits (s)", "Requests that run"}


def test_metrics_on_a_port_of_their_own_are_said_to_be_elsewhere(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: object, browser_context: "BrowserContext"
) -> None:
    url, _ = start_gateway(admin_port=free_port())
    page = browser_context.new_page()
    page.goto(url)
    page.get_by_role("tab", name="Status").click()
    page.get_by_text("This gateway shows its metrics on a port of their own.").wait_for()


def test_a_key_without_the_right_sees_no_metrics_and_a_sentence(
    start_gateway: Callable[..., tuple[str, GatewayState]],
    worker: object,
    browser_context: "BrowserContext",
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"someone {hashlib.sha256(KEY.encode()).hexdigest()} infer,models\n")
    url, _ = start_gateway(keys_file=keys)
    page = browser_context.new_page()
    # Callers on this machine may read metrics with any key; one elsewhere gets this.
    refusal = {"error": {"message": "The key may not do this.", "code": "forbidden"}}
    page.route("**/metrics", lambda route: route.fulfill(status=403, json=refusal))
    page.goto(url)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    page.get_by_role("tab", name="Status").click()
    page.get_by_text("This key may not read metrics.").wait_for()
    page.get_by_role("heading", name="fake").wait_for()
    assert page.locator(".status-view table").count() == 0


def test_arrow_keys_move_between_the_views(page: "Page") -> None:
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Compare").get_attribute("aria-selected") == "true"


def test_four_views_are_pictures_for_the_docs(page: "Page", tmp_path: Path) -> None:
    take(page, tmp_path)
    for name in VIEWS:
        with Image.open(tmp_path / f"page-{name}.png") as picture:
            assert picture.size == SIZE
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20, "a blank page"


def test_dropped_pictures_are_searched_by_another_picture(page: "Page", root: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    picture = base64.b64encode((root / "samples/dog.png").read_bytes()).decode()
    transfer = page.evaluate_handle(
        """(data) => {
            const blob = new Blob([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))]);
            const transfer = new DataTransfer();
            for (const name of ["a.png", "b.png"]) transfer.items.add(new File([blob], name, { type: "image/png" }));
            return transfer;
        }""",
        picture,
    )
    page.locator("section[aria-labelledby=search]").dispatch_event("drop", {"dataTransfer": transfer})
    page.get_by_text("2 of 2 pictures are ready.").wait_for()
    page.get_by_label("Or by a sound, a picture, any medium").set_input_files(str(root / "samples/dog.png"))
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".hits li").nth(1).wait_for()
    assert all(words.endswith("1.000") for words in page.locator(".hits li").all_inner_texts())


def test_a_dropped_folder_is_searched_with_all_that_lies_below_it(
    page: "Page", browser_context: "BrowserContext", tmp_path: Path, root: Path
) -> None:
    """By DevTools' drag of a path. A browser lists a folder in pieces of a hundred entries."""
    folder = tmp_path / "album"
    (folder / "deep/er").mkdir(parents=True)
    for place in ("dog.png", "deep/cat.png", "deep/er/banana.png"):
        (folder / place).write_bytes((root / "samples" / Path(place).name).read_bytes())
    for number in range(220):
        (folder / f"note-{number}.md").write_text("no picture")
    page.get_by_role("tab", name="Compare").click()
    page.evaluate(
        """async () => {
            const { droppedFiles } = await import("/page/js/compare/dropped.js");
            window.dropped = new Promise((resolve) =>
                addEventListener("drop", ({ dataTransfer }) => resolve(droppedFiles(dataTransfer)), { capture: true }));
        }"""
    )
    drop(page, browser_context, "section[aria-labelledby=search]", folder)
    page.get_by_text("3 of 3 pictures are ready.").wait_for()
    paths = page.evaluate(
        """async () => {
            const { pathInFolder } = await import("/page/js/compare/dropped.js");
            return (await window.dropped).map(pathInFolder);
        }"""
    )
    assert len(paths) == 223
    assert {path for path in paths if path.endswith(".png")} == {"dog.png", "deep/cat.png", "deep/er/banana.png"}
    page.get_by_label("By words").fill("a dog")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".hits li").nth(2).wait_for()


def test_a_folder_on_the_conversation_is_said_to_be_one(
    page: "Page", browser_context: "BrowserContext", tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    page.get_by_label("Your message").wait_for()
    drop(page, browser_context, ".composer", tmp_path / "album")
    words = page.locator(".composer [role=alert]").inner_text()
    assert words == "album is a folder. Drop its files, or search it in the view Compare."
    assert page.locator(".composer .card").count() == 0


def drop(page: "Page", context: "BrowserContext", place: str, path: Path) -> None:
    """Drop a file on the page, as a person drags it from a file manager."""
    area = page.locator(place)
    area.scroll_into_view_if_needed()
    size = area.bounding_box()
    assert size
    devtools = context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": size["x"] + 20, "y": size["y"] + 10}
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
