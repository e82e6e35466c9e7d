"""Media in the browser: dropped, chosen, recorded, described, weighed."""

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from pandagpt_core.types import Modality
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread
from tests.media.flir_file import radiometric
from tests.web.acts import FILES, answer, ask, attach, sample

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


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


def test_what_the_model_does_not_take_is_refused_at_once_beside_what_it_takes(page: "Page") -> None:
    names = ("song.unknown", "dog.png", "other.unknown")
    page.locator(FILES).first.set_input_files(
        [{"name": name, "mimeType": "", "buffer": sample("dog.png")} for name in names]
    )
    page.locator(".composer .card").wait_for()
    words = page.locator(".composer [role=alert]").all_inner_texts()
    assert [one.split(":")[0] for one in words] == ["song.unknown", "other.unknown"]
    assert page.locator(".composer .card").count() == 1


@pytest.fixture
def louder(page: "Page", url: str, valkey: Any) -> "Iterator[Page]":
    """The page before two models: `fake`, and `louder`, whose recipe of sounds chooses clips."""
    info = replace(FAKE_INFO, id="louder", recipes={**FAKE_INFO.recipes, Modality.AUDIO: "mixed-audio-v1"})
    with worker_thread(valkey.settings, FakeRuntime(info=info), lost_after_s=15.0):
        while len(httpx.get(f"{url}/v1/models", trust_env=False).json()["data"]) < 2:  # kept for a second
            time.sleep(0.1)
        page.reload()
        page.locator("#model").select_option("louder")
        attach(page, "dog.flac")
        page.get_by_label("Clips of a long sound").select_option("even")
        yield page


def test_fields_are_those_that_the_chosen_models_recipes_take(louder: "Page") -> None:
    """An option that the next model does not take goes with its field: the question is answered, not refused."""
    with louder.expect_request("**/v1/chat/completions") as sent:
        ask(louder, "What is this?")
    assert sent.value.post_data_json["messages"][0]["content"][0]["audio"] == {"clips": "even"}
    answer(louder)
    louder.get_by_role("button", name="Edit and ask again").click()
    louder.locator("#model").select_option("fake")
    card = louder.locator('.composer .card[data-modality="audio"]')
    card.locator(".facts").wait_for()
    assert card.get_by_label("Clips of a long sound").count() == 0
    assert card.locator(".warning").count() == 0
    ask(louder, "What is this?")
    assert "<audio:" in answer(louder)


def test_an_earlier_turns_option_is_left_out_for_a_model_without_it(louder: "Page") -> None:
    ask(louder, "What is this?")
    answer(louder)
    louder.locator("#model").select_option("fake")
    ask(louder, "And now?")
    assert answer(louder)


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


def test_fields_are_filled_from_what_a_file_says_of_itself(page: "Page", tmp_path: Path) -> None:
    camera = np.array([[525.0, 0, 160], [0, 525, 120], [0, 0, 1]])
    metres = np.add.outer(np.linspace(1, 3, 60), np.linspace(0, 1, 80))
    np.savez(tmp_path / "room-depth.npz", depth_m=metres, K=camera)
    page.locator(FILES).first.set_input_files(str(tmp_path / "room-depth.npz"))
    card = page.locator('.composer .card[data-modality="depth"]')
    card.locator("label small", has_text="the file names it: k").wait_for()
    assert card.get_by_label("Focal length").input_value() == "525"
    assert card.get_by_role("combobox", name="Unit").input_value() == "m"
    assert card.get_by_label("Baseline").input_value() == ""
    assert "nothing in the file names it" in card.locator("label", has_text="Baseline").inner_text()
    card.get_by_label("Baseline").fill("0.075")
    card.get_by_label("Baseline").blur()
    card.locator(".facts").wait_for()
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "What is this?")
    part = sent.value.post_data_json["messages"][0]["content"][0]
    assert part["depth"] == {"unit": "m", "focal_px": 525, "baseline_m": 0.075}
    answer(page)


def test_a_thermal_cameras_file_fills_unit_and_range(page: "Page") -> None:
    page.locator(FILES).first.set_input_files(
        {"name": "stove-thermal.jpg", "mimeType": "image/jpeg", "buffer": radiometric()}
    )
    card = page.locator('.composer .card[data-modality="thermal"]')
    # the reason below the field; a fact of the reading may have the same words
    card.locator("label small", has_text="by the camera's own constants").wait_for()
    assert card.get_by_label("Unit").input_value() == "celsius"
    low, high = (float(card.get_by_label(name).input_value()) for name in ("Low", "High"))
    assert -40 < low < high < 200


def test_a_recording_may_be_thrown_away(page: "Page") -> None:
    for name, end in (("Record a sound", "Cancel"), ("Take a picture", "Cancel"), ("Record motion", "Escape")):
        page.locator("summary", has_text="Record").click()
        page.get_by_role("button", name=name).click()
        page.get_by_role("button", name="Cancel").wait_for()
        page.keyboard.press("Escape") if end == "Escape" else page.get_by_role("button", name=end).click()
        page.get_by_role("dialog").wait_for(state="hidden")
    attach(page, "dog.png")
    page.locator(".composer .card").wait_for()
    assert page.locator(".composer .card").count() == 1


def test_motion_sensors_of_the_browser_are_recorded(page: "Page", browser_context: "BrowserContext") -> None:
    """By the sensors that DevTools put in the place of a phone's."""
    devtools = browser_context.new_cdp_session(page)
    sensors = ("accelerometer", "linear-acceleration", "gyroscope")
    for name in sensors:
        devtools.send(
            "Emulation.setSensorOverrideEnabled", {"enabled": True, "type": name, "metadata": {"available": True}}
        )
    page.locator("summary", has_text="Record").click()
    page.get_by_role("button", name="Record motion").click()
    page.get_by_role("status").get_by_text("No motion sensor").wait_for()
    for at in range(200):
        for name in sensors:
            reading = {"xyz": {"x": 0.1 * at, "y": 1, "z": 9.8}}
            devtools.send("Emulation.setSensorOverrideReadings", {"type": name, "reading": reading})
        if re.match(r"[2-9]\d samples", page.locator("dialog [role=status]").inner_text()):
            break
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Stop and use it").click()
    card = page.locator('.composer .card[data-modality="imu"]')
    card.wait_for()
    assert 1 < float(card.get_by_label("Rate").input_value()) <= 1000
    ask(page, "What is this?")
    assert "<imu:" in answer(page)


def test_files_are_pasted_and_dropped(page: "Page") -> None:
    """Dropped on the conversation too, not on the text field alone."""
    transfer = """([name, data]) => {
        const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
        return transfer;
    }"""
    data = base64.b64encode(sample("dog.png")).decode()
    page.get_by_label("Your message").wait_for()
    page.evaluate(
        f"""(given) => document.querySelector("textarea").dispatchEvent(
            new ClipboardEvent("paste", {{ clipboardData: ({transfer})(given), bubbles: true }}))""",
        ["pasted.png", data],
    )
    page.locator(".composer .card", has_text="pasted.png").wait_for()
    for place in (".composer", ".log"):
        dropped = page.evaluate_handle(transfer, [f"dropped-{place[1:]}.png", data])
        page.locator(place).dispatch_event("drop", {"dataTransfer": dropped})
        page.locator(".composer .card", has_text=f"dropped-{place[1:]}.png").wait_for()
    ask(page, "What are these?")
    assert answer(page).count("<image:") == 3


def test_a_file_that_is_dropped_elsewhere_does_not_take_the_page_away(page: "Page") -> None:
    page.get_by_label("Your message").wait_for()
    taken = page.evaluate(
        "document.querySelector('header').dispatchEvent(new DragEvent('drop', {cancelable: true, bubbles: true}))"
    )
    assert taken is False
