"""Uploads: begun when a file is attached, once for all uses, with progress, stopped with the answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes import FakeRuntime
from tests.web.acts import FILES, answer, ask, attach, example, sample

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Request

SIX = ("dog.png", "dog.flac", "elephant.mp4", "rocket-depth.png", "rabbit-thermal.png", "running-imu.csv")
FORM = 1500  # bytes of a form with a file's id and some fields


def test_the_bytes_of_a_file_go_to_the_service_once(page: "Page") -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    for name in SIX:
        example(page, name)
    page.locator(".composer .card .facts").nth(len(SIX) - 1).wait_for()
    ask(page, "What are these?")
    answer(page)
    uploads = [request for request in sent if request.url.endswith("/v1/files")]
    others = [request for request in sent if request not in uploads]
    assert len(uploads) == len(SIX)
    assert all(len(request.post_data_buffer or b"") < FORM for request in others if "inspect" in request.url)
    assert len([request for request in others if "inspect" in request.url]) <= len(SIX) + 2  # two name fields


def test_a_large_upload_shows_its_progress_until_it_is_there(
    page: "Page", browser_context: "BrowserContext", tmp_path: Path
) -> None:
    network = browser_context.new_cdp_session(page)
    network.send("Network.enable")
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30_000_000},
    )
    (tmp_path / "large.png").write_bytes(sample("dog.png") + bytes(40_000_000))
    page.locator(FILES).first.set_input_files(str(tmp_path / "large.png"))
    ask(page, "What is this?")
    bar = page.get_by_role("progressbar", name="Uploading large.png")
    bar.wait_for()
    page.wait_for_function("0 < document.querySelector('article.user progress').value")
    assert "<image:" in answer(page)
    bar.wait_for(state="hidden")


def test_stop_ends_an_upload_and_the_file_can_be_asked_about_again(page: "Page") -> None:
    held: list[Any] = []
    page.route("**/v1/files", lambda route: held.append(route))
    attach(page, "dog.png")
    ask(page, "What is this?")
    page.locator("article.answer").wait_for()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/v1/files")):
        page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.", exact=True).wait_for()
    page.unroute("**/v1/files")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Hello")
    assert sent.value.post_data_json["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    ], "the question that was stopped got no answer"
    answer(page)
    page.get_by_role("button", name="Edit and ask again").first.click()
    page.get_by_role("button", name="Ask", exact=True).click()
    assert "<image:" in answer(page)


def test_stop_before_the_first_word_ends_the_request_too(page: "Page", runtime: FakeRuntime) -> None:
    held: list[Any] = []
    runtime.hold_after = 3
    page.route("**/v1/chat/completions", lambda route: held.append(route))
    with page.expect_request("**/v1/chat/completions"):
        ask(page, "A long story")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.", exact=True).wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        held[0].continue_()
    assert ended.value.ok
    assert page.locator("article.answer .text").inner_text() == ""


def test_a_file_that_is_removed_is_removed_from_the_service(page: "Page") -> None:
    attach(page, "dog.png")
    page.locator(".composer .card .facts").wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE") as removed:
        page.get_by_role("button", name="Remove dog.png").click()
    assert removed.value.ok
    assert "/v1/files/" in removed.value.url
    assert page.locator(".composer .card").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Your message"


def test_a_medium_that_cannot_be_read_is_named_by_its_file(page: "Page") -> None:
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.locator(FILES).first.set_input_files([broken])
    page.locator(".composer .card .warning").wait_for()
    attach(page, "dog.png")
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")  # a message before the question
    ask(page, "What are these?")
    words = page.locator("article.answer [role=alert]").inner_text()
    assert "broken.png" in words
    assert "messages[" not in words


def test_a_warning_names_its_file(page: "Page") -> None:
    rows = "\n".join(f"{at % 3},0,9.8,0,0,{300 + at % 5}" for at in range(100))  # no hand turns so fast
    table = f"accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z\n{rows}".encode()
    page.locator(FILES).first.set_input_files([{"name": "walk-imu.csv", "mimeType": "text/csv", "buffer": table}])
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    ask(page, "What is this?")
    answer(page)
    words = page.locator("article.answer .warning").inner_text()
    assert words.startswith("walk-imu.csv: ")
    assert "deg/s" in words


def test_a_reload_in_the_middle_of_an_upload_is_said(page: "Page", seen: Any) -> None:
    page.route("**/v1/files", lambda route: None)
    attach(page, "dog.png")
    ask(page, "What is this?")
    page.locator("article.answer").wait_for()
    page.reload()
    assert "upload was cut off" in page.locator("article.answer [role=alert]").inner_text()
    ask(page, "Hello")
    assert answer(page)


def test_an_upload_that_is_refused_is_said_with_its_name(page: "Page", seen: Any) -> None:
    refusal = {"error": {"message": "The file is larger than the limit of 5 bytes.", "code": "too_large"}}
    page.route("**/v1/files", lambda route: route.fulfill(status=413, json=refusal))
    attach(page, "dog.png")
    page.locator(".composer .card .warning", has_text="limit of 5 bytes").wait_for()
    ask(page, "What is this?")
    words = page.locator("article.answer [role=alert]").inner_text()
    assert words == "dog.png: The file is larger than the limit of 5 bytes."
    assert all("413" in error for error in seen.errors)  # the browser's own line about the status
    seen.errors.clear()
