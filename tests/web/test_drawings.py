"""Media as they are drawn: true scales, what the model looks at, points that turn."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from pandagpt_core.types import Modality
from tests.fakes import FAKE_INFO
from tests.media.flir_file import radiometric
from tests.web.acts import FILES, attach, example

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

SHADED = """(canvas, shares) => shares.map((share) => {
    const [, , blue, alpha] = canvas.getContext("2d").getImageData(Math.floor(share * canvas.width), 1, 1, 1).data;
    return alpha > 0 && blue < 100;
})"""


def card(page: "Page", modality: str) -> "Locator":
    return page.locator(f'.composer .card[data-modality="{modality}"]')


def test_maps_have_the_scale_and_unit_that_the_service_reads(page: "Page") -> None:
    example(page, "rocket-depth.png")
    example(page, "rabbit-thermal.png")
    card(page, "depth").locator(".scale", has_text="mm").wait_for()
    assert card(page, "depth").locator(".scale").inner_text().split() == ["2,666", "21,347", "mm"]
    card(page, "thermal").locator(".scale", has_text="raw").wait_for()
    assert card(page, "thermal").locator(".scale").inner_text().split() == ["28,921", "31,475", "raw"]
    for one in (card(page, "depth"), card(page, "thermal")):
        colours = one.locator("canvas").first.evaluate(
            "(canvas) => new Set(new Uint32Array(canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
        )
        assert colours > 100, "all 16 bits are seen"


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_pictures_are_read_with_all_their_bits(page: "Page", depth: type[np.unsignedinteger[Any]]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40) * 300, np.arange(50) * 70) % np.iinfo(depth).max
    noisy = rng.integers(0, np.iinfo(depth).max, (40, 50))
    for values in (smooth.astype(depth), noisy.astype(depth)):
        out = io.BytesIO()
        Image.fromarray(values).save(out, "PNG")
        read = page.evaluate(
            """async (bytes) => {
                const { readGreyPng } = await import("/page/js/media/png.js");
                const { width, height, data } = await readGreyPng(new Uint8Array(bytes).buffer);
                return { width, height, data: [...data] };
            }""",
            list(out.getvalue()),
        )
        assert (read["width"], read["height"]) == (50, 40)
        assert read["data"] == values.ravel().tolist()


def test_a_map_that_a_browser_cannot_read_is_drawn_as_the_model_gets_it(page: "Page", tmp_path: Path) -> None:
    Image.fromarray(np.linspace(1, 4, 4800, dtype=np.float32).reshape(60, 80)).save(tmp_path / "room-depth.tiff")
    page.locator(FILES).first.set_input_files(str(tmp_path / "room-depth.tiff"))
    depth = card(page, "depth")
    depth.get_by_text("This browser cannot read it").wait_for()
    for label, value in (("Focal length", "525"), ("Baseline", "0.075")):
        depth.get_by_label(label).fill(value)
    depth.get_by_role("combobox", name="Unit").select_option("m")
    depth.locator(".preview .legend", has_text="1 to 4 m").wait_for()
    assert depth.locator(".preview canvas").count() == 1


def test_a_thermal_cameras_picture_has_the_cameras_scale(page: "Page") -> None:
    """The file is a JPEG too; its colours are no temperatures."""
    jpeg = {"name": "stove-thermal.jpg", "mimeType": "image/jpeg", "buffer": radiometric()}
    page.locator(FILES).first.set_input_files([jpeg])
    card(page, "thermal").locator(".preview .legend", has_text="celsius").wait_for()
    assert card(page, "thermal").locator(".preview canvas").count() == 1


def _hears_where_it_is_loud(route: "Route") -> None:
    """The fake's models with the recipe of sounds that chooses clips; ImageBind's takes them evenly."""
    found = route.fetch().json()
    for model in found["data"]:
        model["recipes"]["audio"] = "mixed-audio-v1"
        model["media_parameters"]["audio"] = ["clips"]
    route.fulfill(json=found)


def test_the_clips_that_the_model_gets_are_shaded(page: "Page", tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.001, 40 * 16000)
    wave[30 * 16000 : 36 * 16000] += rng.normal(0, 0.2, 6 * 16000)  # the only sound
    soundfile.write(tmp_path / "long.wav", wave, 16000)
    page.route("**/v1/models", _hears_where_it_is_loud)
    page.reload()
    page.locator(FILES).first.set_input_files(str(tmp_path / "long.wav"))
    sound = card(page, "audio")
    sound.locator(".facts dt", has_text="looked at").wait_for()
    sound.get_by_label("Clips of a long sound").select_option("loud")
    shaded = sound.locator("canvas")
    page.wait_for_function(f"(canvas) => ({SHADED})(canvas, [33 / 40])[0]", arg=shaded.element_handle())
    assert shaded.evaluate(SHADED, [5 / 40, 15 / 40, 25 / 40, 33 / 40]) == [False, False, False, True]


def test_the_seconds_of_a_motion_that_the_model_gets_are_shaded(page: "Page") -> None:
    example(page, "running-imu.csv")
    card(page, "imu").locator(".facts").wait_for()
    curves = card(page, "imu").locator("canvas")
    page.wait_for_function(f"(canvas) => ({SHADED})(canvas, [0.5])[0]", arg=curves.element_handle())
    assert curves.evaluate(SHADED, [0.04, 0.5, 0.96]) == [False, True, False]  # 0.5 to 5.5 of 6 s
    assert len(card(page, "imu").locator(".legend span").all()) == 6


def test_the_frames_that_the_model_gets_are_shown(page: "Page") -> None:
    attach(page, "elephant.mp4")
    frames = card(page, "video").locator("img.frames")
    frames.wait_for()
    assert frames.evaluate("(image) => image.naturalWidth / image.naturalHeight") > 4
    page.get_by_role("button", name="Ask", exact=True).click()
    sent = page.locator(".turn.user img.frames")
    sent.wait_for()
    page.locator("article.answer .figures").wait_for()
    page.reload()  # the service's drawing is not kept, and read again
    sent.wait_for()


def test_a_turned_picture_is_upright_and_what_the_model_gets_is_shown(page: "Page", tmp_path: Path, root: Path) -> None:
    turned = Image.open(root / "samples/dog.png").convert("RGB").resize((200, 100))
    exif = Image.Exif()
    exif[0x112] = 6  # a quarter turn
    turned.save(tmp_path / "turned.jpg", exif=exif)
    with page.expect_request("**/v1/media/inspect") as inspected:
        page.locator(FILES).first.set_input_files(str(tmp_path / "turned.jpg"))
    recipe = FAKE_INFO.recipes[Modality.IMAGE]
    assert recipe in (inspected.value.post_data or ""), "the chosen model's recipe, not the newest"
    picture = card(page, "image").locator(".preview img")
    picture.wait_for()
    assert picture.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [100, 200]
    card(page, "image").get_by_text("As the model gets it").click()
    given = card(page, "image").get_by_role("img", name="turned.jpg as the model gets it")
    given.wait_for()
    assert given.evaluate("(image) => image.naturalWidth") == 224
    assert "stored" in card(page, "image").locator(".warning").inner_text(), "this model's recipe turns nothing"


def inked(canvas: "Locator") -> int:
    """Number of the canvas's pixels that are not empty."""
    count: int = canvas.evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".filter((value, at) => at % 4 === 3 && value).length"
    )
    return count


def test_a_sound_of_one_side_is_no_silence(page: "Page", tmp_path: Path) -> None:
    wave = np.zeros((16000, 2), np.float32)
    wave[8000:, 1] = np.random.default_rng(0).uniform(-0.9, 0.9, 8000)
    soundfile.write(tmp_path / "right.wav", wave, 16000)
    page.locator(FILES).first.set_input_files(str(tmp_path / "right.wav"))
    drawn = card(page, "audio").locator("canvas")
    drawn.wait_for()
    assert inked(drawn) > 5000, "half of 320 columns, each as high as the loudest channel"


MOTION = np.random.default_rng(0).uniform(-1, 1, (100, 6))
SENSORS = "ax,ay,az,gx,gy,gz"


def motion(name: str) -> bytes:
    """The same six columns as people's files have them."""
    rows = [[f"{value:.4f}" for value in row] for row in MOTION]
    match name:
        case "records-imu.json":
            return json.dumps([dict(zip(SENSORS.split(","), map(float, row), strict=True)) for row in rows]).encode()
        case "watch-imu.csv":
            lines = [f"{at / 50},80,walking,{','.join(row)}" for at, row in enumerate(rows)]
            return "\n".join([f"time,heart_rate,activity,{SENSORS}", *lines]).encode()
        case _:  # decimal commas
            lines = [";".join(row).replace(".", ",") for row in rows]
            return "\n".join([SENSORS.replace(",", ";"), *lines]).encode()


def attached(page: "Page", name: str, content: bytes) -> None:
    page.locator(FILES).first.set_input_files([{"name": name, "mimeType": "", "buffer": content}])


def test_the_six_columns_are_found_among_others(page: "Page") -> None:
    attached(page, "watch-imu.csv", motion("watch-imu.csv"))
    legend = card(page, "imu").locator(".legend span")
    legend.nth(5).wait_for()
    assert [words.split()[0] for words in legend.all_inner_texts()] == SENSORS.split(",")
    assert "Infinity" not in card(page, "imu").inner_text()


@pytest.mark.parametrize("name", ["records-imu.json", "german-imu.csv"])
def test_a_motion_that_a_browser_cannot_read_is_shown_as_the_model_gets_it(page: "Page", name: str) -> None:
    attached(page, name, motion(name))
    page.get_by_label("Rate").fill("50")
    page.get_by_label("Rate").blur()
    card(page, "imu").get_by_role("img", name=f"{name}, preview, as the model gets it").wait_for()
    assert card(page, "imu").locator("canvas").count() == 0


def test_a_picture_that_a_browser_cannot_read_is_shown_as_the_model_gets_it(page: "Page", root: Path) -> None:
    out = io.BytesIO()
    Image.open(root / "samples/dog.png").save(out, "TIFF")
    attached(page, "dog.tiff", out.getvalue())
    given = card(page, "image").get_by_role("img", name="dog.tiff, preview, as the model gets it")
    given.wait_for()
    assert given.evaluate("(image) => image.naturalWidth") == 224


def test_a_cloud_of_binary_numbers_is_shown_as_the_model_gets_it(page: "Page") -> None:
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 500\n"
    columns = "".join(f"property float {axis}\n" for axis in "xyz")
    places = np.random.default_rng(0).uniform(0, 1, (500, 3)).astype("<f4").tobytes()
    attached(page, "box.ply", f"{head}{columns}end_header\n".encode() + places)
    card(page, "points").get_by_role("img", name="box.ply, preview, as the model gets it").wait_for()
    assert card(page, "points").locator("canvas").count() == 0


def test_faces_of_a_cloud_are_no_points_and_all_parts_of_a_large_one_are_drawn(page: "Page") -> None:
    faces = "3 0 1 2\n" * 7
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n"
    read = page.evaluate(
        """async (ply) => {
            const { readPoints } = await import("/page/js/media/readers.js");
            const many = readPoints(Array.from({ length: 20000 }, (_, at) => `${at} 0 0`).join("\\n"));
            return [readPoints(ply), many.length, many.at(-1)[0]];
        }""",
        f"{head}0 0 0\n1 0 0\n0 1 0\n{faces}",
    )
    assert read[0] == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert read[1] <= 4000
    assert read[2] > 19000


def test_points_are_turned_by_mouse_and_by_keys(page: "Page", tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "box.xyz", rng.uniform(0, 1, (500, 3)) * [1, 2, 3])
    page.locator(FILES).first.set_input_files(str(tmp_path / "box.xyz"))
    points = card(page, "points").locator("canvas")
    points.wait_for()
    picture = "(canvas) => canvas.toDataURL()"
    seen = [points.evaluate(picture)]
    points.press("ArrowLeft")
    seen.append(points.evaluate(picture))
    points.press("ArrowUp")
    seen.append(points.evaluate(picture))
    size = points.bounding_box()
    assert size
    page.mouse.move(size["x"] + 50, size["y"] + 50)
    page.mouse.down()
    page.mouse.move(size["x"] + 90, size["y"] + 70, steps=3)
    page.mouse.up()
    seen.append(points.evaluate(picture))
    assert len(set(seen)) == 4
    assert points.evaluate("(canvas) => getComputedStyle(canvas).touchAction") == "none"
