"""Media in the browser: dropped, chosen, recorded, described, weighed."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.test_chat import answer, ask, sample

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FILES = "input[type=file]"


def attach(page: "Page", *names: str) -> None:
    page.locator(FILES).first.set_input_files([str(Path(__file__).parents[2] / "samples" / name) for name in names])


def test_each_kind_of_file_is_known_by_its_name(page: "Page") -> None:
    attach(page, "dog.png", "dog.flac", "elephant.mp4", "rocket-depth.png", "rabbit-thermal.png", "running-imu.csv")
    cards = page.locator(".composer .card")
    cards.nth(5).wait_for()
    kinds = [cards.nth(index).get_attribute("data-modality") for index in range(6)]
    assert kinds == ["image", "audio", "video", "depth", "thermal", "imu"]
    page.locator(".composer .card canvas").nth(3).wait_for()  # waveform, two maps, curves


def test_a_weight_and_options_reach_the_request(page: "Page") -> None:
    attach(page, "running-imu.csv", "dog.png")
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    page.locator("input[type=range]").last.fill("2")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is this?")
    motion, picture = sent.value.post_data_json["messages"][0]["content"][:2]
    assert (motion["modality"], motion["imu"]["rate_hz"]) == ("imu", 50)
    assert (picture["modality"], picture["weight"]) == ("image", 2)
    answer(page)


def test_a_picture_is_uploaded_once_for_many_turns(page: "Page") -> None:
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.url) if request.url.endswith("/v1/files") else None)
    attach(page, "dog.png")
    ask(page, "What is this?")
    answer(page)
    ask(page, "Are you sure?")
    answer(page)
    assert len(uploads) == 1


def test_what_the_model_does_not_take_is_refused_at_once(page: "Page") -> None:
    page.locator(FILES).first.set_input_files({"name": "song.unknown", "mimeType": "", "buffer": b"1 2 3"})
    assert "song.unknown" in page.locator(".composer [role=alert]").inner_text()
    assert page.locator(".composer .card").count() == 0


def test_the_camera_takes_a_picture(page: "Page") -> None:
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name="Take a picture").click()
    page.get_by_role("button", name="Take it").click()
    page.locator('.composer .card[data-modality="image"] .preview img').wait_for()
    ask(page, "What is this?")
    assert "<image:" in answer(page)


@pytest.mark.parametrize(("name", "modality"), [("Record a sound", "audio"), ("Record a clip", "video")])
def test_microphone_and_camera_are_recorded(page: "Page", name: str, modality: str) -> None:
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name=name).click()
    page.locator("[role=timer]", has_text="1 s").wait_for()
    page.get_by_role("button", name="Stop and use it").click()
    page.locator(f'.composer .card[data-modality="{modality}"]').wait_for()
    ask(page, "What is this?")
    assert f"<{modality}:" in answer(page)


def test_a_phones_motion_is_recorded_with_its_rate(page: "Page") -> None:
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name="Record motion").click()
    page.evaluate(
        """async () => {
            for (let at = 0; at < 40; at += 1) {
                const accelerationIncludingGravity = { x: Math.sin(at), y: 0, z: 9.8 };
                const rotationRate = { alpha: at, beta: 0, gamma: 0 };
                const values = { interval: 20, accelerationIncludingGravity, rotationRate };
                dispatchEvent(new DeviceMotionEvent("devicemotion", values));
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
        }"""
    )
    page.get_by_role("button", name="Stop and use it").click()
    card = page.locator('.composer .card[data-modality="imu"]')
    card.wait_for()
    assert 5 < float(card.get_by_label("Rate").input_value()) <= 50
    ask(page, "What is this?")
    assert "<imu:" in answer(page)


def test_a_large_upload_shows_its_progress(page: "Page", browser_context: "BrowserContext") -> None:
    network = browser_context.new_cdp_session(page)
    network.send("Network.enable")
    network.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 30_000_000},
    )
    padded = sample("dog.png") + bytes(40_000_000)
    page.locator(FILES).first.set_input_files({"name": "large.png", "mimeType": "image/png", "buffer": padded})
    ask(page, "What is this?")
    page.locator("article.user progress").wait_for()
    assert "<image:" in answer(page)


def test_the_screen_is_recorded(page: "Page") -> None:
    """By Chromium's own capture: its fake devices hold a screen, and its fake dialog grants it."""
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name="Record the screen").click()
    page.locator("[role=timer]", has_text="1 s").wait_for()
    page.get_by_role("button", name="Stop and use it").click()
    page.locator('.composer .card[data-modality="video"] .facts').wait_for()
    ask(page, "What is this?")
    assert "<video:" in answer(page)


def test_a_screen_that_is_not_granted_is_a_sentence(page: "Page") -> None:
    page.add_init_script(
        "navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException('Denied', 'NotAllowedError'); }"
    )
    page.reload()
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name="Record the screen").click()
    assert "gives no access" in page.get_by_role("alert").inner_text()
