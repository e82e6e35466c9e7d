"""Habits that files have, as properties over generated ones: for every habit the array is the plain file's."""

import io
import json
import zipfile

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from tests.media.conftest import Make

LIMITS, MAKE = Limits(), Make()
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CAMERA = {"focal_px": 520.0, "baseline_m": 0.075}
NAMES = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
ROWS = np.round(np.sin(np.arange(300 * 6).reshape(300, 6) * 0.37) * 4 + np.arange(6), 4)
PLAIN = load("imu-v1", MAKE.npy(ROWS), {"rate_hz": 50.0}, LIMITS)


def table(
    names: list[str], columns: list[np.ndarray], mark: str = ",", *, comma: bool = False, quote: str = ""
) -> bytes:
    lines = [mark.join(f"{quote}{name}{quote}" for name in names)]
    for row in zip(*columns, strict=True):
        cells = [f"{quote}{value}{quote}" for value in row]
        lines.append(mark.join(cell.replace(".", ",") if comma else cell for cell in cells))
    return "\n".join(lines).encode()


@few
@given(
    order=st.permutations(range(6)),
    style=st.sampled_from([",", ";", "\t", "|", " "]),
    quote=st.sampled_from(["", '"']),
    comma=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    comment=st.sampled_from(["", "# device\n", "// made by a phone\n\n"]),
)
def test_a_header_gives_the_order_whatever_the_tables_style(order, style, quote, comma, encoding, comment):
    comma, quote = comma and style in (";", "\t", "|"), "" if style == " " else quote
    data = table([NAMES[at] for at in order], [ROWS[:, at] for at in order], style, comma=comma, quote=quote)
    data = (comment + data.decode()).encode(encoding)
    assert load("imu-v1", data, {"rate_hz": 50.0}, LIMITS) == pytest.approx(PLAIN, abs=1e-5)


@few
@given(
    scale=st.sampled_from([("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)]),
    named=st.booleans(),
    shuffle=st.booleans(),
    doubled=st.booleans(),
    start=st.sampled_from([0.0, 12.0]),
)
def test_a_time_column_gives_the_rate_whatever_its_unit_and_order(scale, named, shuffle, doubled, start):
    unit, factor = scale
    times = (start + np.arange(300) / 50.0) * factor
    rows = np.column_stack([times, ROWS])
    if doubled:
        rows = np.concatenate([rows, rows[40:60]])
    if shuffle:
        rows = np.random.default_rng(1).permutation(rows)
    data = table([f"time ({unit})" if named else "timestamp", *NAMES], list(rows.T))
    array, notes = read("imu-v1", data, {}, LIMITS)
    assert array == pytest.approx(PLAIN, abs=0.02)
    assert ("the rows are not in the order of their times; they are sorted" in notes.warnings) == (shuffle or doubled)


@few
@given(
    units=st.sampled_from([("g", "deg/s"), ("m/s2", "deg/s"), ("g", "rad/s"), ("mg", "dps")]), in_header=st.booleans()
)
def test_units_come_from_the_header_or_the_caller(units, in_header):
    sizes = {"g": 9.80665, "mg": 9.80665e-3, "m/s2": 1.0, "deg/s": np.pi / 180, "dps": np.pi / 180, "rad/s": 1.0}
    columns = [ROWS[:, at] / sizes[units[at // 3]] for at in range(6)]
    params = {"rate_hz": 50.0}
    if in_header or units[0] == "mg":
        names = [f"{name} ({units[at // 3]})" for at, name in enumerate(NAMES)]
    else:
        names, params = NAMES, {**params, "units": " ".join(units)}
    assert load("imu-v1", table(names, columns), params, LIMITS) == pytest.approx(PLAIN, abs=1e-3)


@few
@given(shape=st.sampled_from(["records", "lines", "columns", "nested", "sensors", "zip"]))
def test_json_and_archives_are_read_in_their_usual_shapes(shape):
    times = np.arange(300) / 50.0
    if shape == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for at, name in ((0, "Accelerometer"), (3, "Gyroscope")):
                names = ["Time (s)", *(f"{name} {axis} (x)" for axis in "xyz")]
                archive.writestr(f"{name}.csv", table(names, [times, *ROWS[:, at : at + 3].T]))
            archive.writestr("Location.csv", "a,b\n1,2")
        assert load("imu-v1", out.getvalue(), {}, LIMITS) == pytest.approx(PLAIN, abs=1e-3)
        return
    records = [dict(zip(NAMES, map(float, row), strict=True)) for row in ROWS]
    nested = [
        {
            "acc": dict(zip("xyz", map(float, row[:3]), strict=True)),
            "gyro": dict(zip("xyz", map(float, row[3:]), strict=True)),
        }
        for row in ROWS
    ]
    shapes = {
        "records": json.dumps(records),
        "lines": "\n".join(map(json.dumps, records)),
        "columns": json.dumps({name: ROWS[:, at].tolist() for at, name in enumerate(NAMES)}),
        "nested": json.dumps(nested),
        "sensors": json.dumps({"accelerometer": ROWS[:, :3].tolist(), "gyroscope": ROWS[:, 3:].tolist()}),
    }
    assert load("imu-v1", shapes[shape].encode(), {"rate_hz": 50.0}, LIMITS) == pytest.approx(PLAIN, abs=1e-5)


def test_a_rate_that_contradicts_the_times_is_refused():
    data = table(["time (s)", *NAMES], [np.arange(300) / 50.0, *ROWS.T])
    with pytest.raises(InvalidMedia, match=r"rate_hz says 100 .*the times in line 1, column 1 .*tell 50;") as caught:
        load("imu-v1", data, {"rate_hz": 100.0}, LIMITS)
    assert caught.value.param == "rate_hz"


@few
@given(
    channels=st.sampled_from([2, 3, 4, 5, 6, 7, 8]),
    data=st.data(),
    kind=st.sampled_from(["WAV", "FLAC", "AIFF", "CAF"]),
)
def test_a_sound_in_any_one_channel_is_heard(channels, data, kind):
    at = data.draw(st.integers(0, channels - 1).filter(lambda at: not (at == 3 and channels in (6, 8))))
    wave = np.zeros((16000, channels))
    wave[:, at] = MAKE.tone()
    array, notes = read("mixed-audio-v1", MAKE.sound(wave, kind=kind, subtype="PCM_16"), {}, LIMITS)
    mono = load("mixed-audio-v1", MAKE.sound(MAKE.tone()), {}, LIMITS)
    assert array[0, 0].mean(axis=1).argmax() == mono[0, 0].mean(axis=1).argmax()
    assert not notes.empty


def test_channels_that_cancel_are_heard_by_the_loudest():
    wave = MAKE.tone()
    array, notes = read("mixed-audio-v1", MAKE.sound(np.stack([wave, -wave], axis=1)), {}, LIMITS)
    assert array == pytest.approx(load("mixed-audio-v1", MAKE.sound(wave), {}, LIMITS), abs=0.05)
    assert notes.warnings == ["the channels cancel one another: the loudest alone is heard"]


@few
@given(channels=st.sampled_from([6, 8]), voice=st.sampled_from([0.0, 0.01, 0.5]), rumble=st.floats(0.2, 0.9))
def test_the_low_frequency_channel_counts_alone_and_hides_no_other(channels, voice, rumble):
    wave = np.zeros((16000, channels))
    wave[:, 3], wave[:, 2] = 2 * rumble * MAKE.tone(hertz=60), 2 * voice * MAKE.tone(hertz=440)
    array, notes = read("mixed-audio-v1", MAKE.sound(wave, subtype="FLOAT"), {}, LIMITS)
    heard = load("mixed-audio-v1", MAKE.sound(MAKE.tone(hertz=440 if voice else 60)), {}, LIMITS)
    assert array[0, 0].mean(axis=1).argmax() == heard[0, 0].mean(axis=1).argmax()
    assert notes.warnings == ([] if voice else ["the low-frequency channel alone holds sound: it is heard"])


@few
@given(before=st.floats(3, 20), after=st.floats(3, 20))
def test_clips_of_a_long_sound_lie_where_there_is_sound_unless_asked_to_be_even(before, after):
    quiet = [np.zeros(round(seconds * 16000)) for seconds in (before, after)]
    data = MAKE.sound(np.concatenate([quiet[0], MAKE.tone(4.0), quiet[1]]))
    _, notes = read("mixed-audio-v1", data, {}, LIMITS)
    assert all(start < before + 4 and end > before for start, end in notes.spans), "each clip holds some of the tone"
    _, even = read("mixed-audio-v1", data, {"clips": "even"}, LIMITS)
    assert even.spans[0][0] == 0


@few
@given(orientation=st.integers(1, 8), recipe=st.sampled_from(["lite0-image-v1", "shown-thermal-v1"]))
def test_an_orientation_in_exif_is_followed(orientation, recipe):
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90"}
    turns |= {7: "TRANSVERSE", 8: "ROTATE_270"}  # the sensor's turn: the inverse of a viewer's
    upright = Image.fromarray(np.add.outer(np.arange(120), np.arange(90)).astype(np.uint8))
    stored = upright.transpose(Image.Transpose[turns[orientation]]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = MAKE.saved(stored, "PNG", exif=exif)
    assert load(recipe, data, {}, LIMITS) == pytest.approx(load(recipe, MAKE.saved(upright), {}, LIMITS), abs=0.03)


@few
@given(level=st.integers(0, 255), kind=st.sampled_from(["PNG", "WEBP"]))
def test_a_transparent_drawing_is_shown_on_a_ground_that_it_stands_out_from(level, kind):
    drawing = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    drawing.paste((level, level, level, 255), (16, 16, 48, 48))
    data = MAKE.saved(drawing, kind, **({"lossless": True} if kind == "WEBP" else {}))
    array, notes = read("lite0-image-v1", data, {}, LIMITS)
    ground, middle = float(array[0, 0, 4, 4]), float(array[0, 0, 112, 112])
    assert abs(ground - middle) * 128 > 10
    assert (ground < 0.9) == ("the drawing is as light as a white ground; it is shown on dark grey" in notes.warnings)


@few
@given(blank=st.integers(0, 5), kind=st.sampled_from(["GIF", "WEBP", "PNG"]))
def test_an_animation_that_begins_blank_is_shown_by_a_frame_that_is_not(blank, kind):
    drawn = Image.fromarray(np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) * 2).convert("RGB")
    frames = [*(Image.new("RGB", (64, 48), (0, 0, level)) for level in range(blank)), drawn]
    extra = {"save_all": True, "append_images": frames[1:], "duration": 100}
    data = MAKE.saved(frames[0], kind, **extra, **({"lossless": True} if kind == "WEBP" else {}))
    array, notes = read("lite0-image-v1", data, {}, LIMITS)
    assert not notes.empty
    assert array == pytest.approx(load("lite0-image-v1", MAKE.saved(drawn), {}, LIMITS), abs=0.1)
    assert any("begins blank" in one for one in notes.warnings) == (blank > 0)


@few
@given(level=st.integers(20, 230))
def test_the_range_of_a_videos_colours_is_followed(level):
    """MJPEG has the whole range of 8 bits, MPEG-4 that of broadcasts."""
    frames = [np.full((48, 64, 3), level, np.uint8)] * 4
    full, narrow = MAKE.video(frames, codec="mjpeg", kind="avi"), MAKE.video(frames)
    for data in (full, narrow):
        shown = float(load("lite0-video-v1", data, {}, LIMITS).mean()) * 128 + 127
        assert shown == pytest.approx(level, abs=3)


@few
@given(bits=st.sampled_from([10, 12, 14, 16]), share=st.floats(0.05, 0.5))
def test_a_deep_grey_picture_names_its_range_and_its_share_at_the_end(bits, share):
    values = np.linspace(0, 2**bits - 1, 64 * 48).reshape(48, 64)
    values.ravel()[: int(share * values.size)] = 2**bits - 1
    _, notes = read("lite0-image-v1", MAKE.grey16(values), {}, LIMITS)
    assert notes.facts["range"].startswith(f"0 to {2**bits - 1:,};")
    assert float(notes.facts["share at the upper end"].rstrip("%")) == pytest.approx(100 * share, abs=1)


@few
@given(durations=st.lists(st.integers(1, 30), min_size=4, max_size=12))
def test_frames_of_a_video_are_taken_by_time_and_not_by_count(durations):
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
        at, starts = 0, []
        for index, length in enumerate(durations):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 16 * index, np.uint8))
            frame.pts = at
            starts.append(at)
            at += length
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clips = load("lite0-video-v1", out.getvalue(), {}, LIMITS)
    shown = [round((float(clip.mean()) * 128 + 127) / 16) for clip in clips]
    assert shown == sorted(shown)
    longest = int(np.argmax(durations[:-1]))  # of the last one the file does not keep the length
    total = starts[-1] + 1
    if durations[longest] > 2 * total / 8:
        assert longest in shown


@few
@given(
    unit=st.sampled_from(["m", "mm", "scale"]),
    kind=st.sampled_from(["npy", "npz", "pfm", "tiff", "column"]),
    hole=st.sampled_from([np.nan, np.inf, 0.0]),
)
def test_depth_is_one_whatever_its_file_and_unit(unit, kind, hole):
    metres = np.add.outer(np.linspace(1, 4, 30), np.linspace(0, 2, 40)).astype(np.float32)
    plain = metres.copy()
    plain[3:5, 3:5] = 0
    metres[3:5, 3:5] = hole
    values = metres * {"m": 1, "mm": 1000, "scale": 5000}[unit]
    params = {**CAMERA, **({"scale": 5000.0} if unit == "scale" else {"unit": unit})}
    out = io.BytesIO()
    np.savez(out, depth=values)
    files = {
        "npy": MAKE.npy(values),
        "npz": out.getvalue(),
        "pfm": b"Pf\n40 30\n-1.0\n" + values[::-1].astype("<f4").tobytes(),
        "tiff": MAKE.saved(Image.fromarray(values), "TIFF"),
        "column": MAKE.npy(values[:, :, None]),
    }
    wanted = load("depth-sunrgbd-v1", MAKE.npy(plain), {"unit": "m", **CAMERA}, LIMITS)
    assert load("depth-sunrgbd-v1", files[kind], params, LIMITS) == pytest.approx(wanted, abs=1e-3)


@few
@given(bits=st.sampled_from([8, 16]), low=st.floats(0, 0.4), high=st.floats(0.6, 1))
def test_relative_depth_has_the_mean_and_deviation_of_the_training_data(bits, low, high):
    scene = np.add.outer(np.linspace(low, high, 224), np.zeros(224)) * (2**bits - 1)
    array = load(
        "depth-sunrgbd-v1", MAKE.saved(Image.fromarray(scene.astype(f"uint{bits}"))), {"unit": "relative"}, LIMITS
    )
    assert array.mean() == pytest.approx(0, abs=0.05)
    assert array.std() == pytest.approx(1, abs=0.1)


@few
@given(unit=st.sampled_from(["celsius", "kelvin", "centikelvin"]), low=st.floats(0, 15), high=st.floats(45, 90))
def test_temperatures_are_one_whatever_their_unit(unit, low, high):
    celsius = np.add.outer(np.linspace(16, 30, 30), np.linspace(0, 12, 40)).astype(np.float32)
    values = {"celsius": celsius, "kelvin": celsius + 273.15, "centikelvin": (celsius + 273.15) * 100}[unit]
    span = {"low": low, "high": high}
    plain = load("shown-thermal-v1", MAKE.npy(celsius), span, LIMITS)
    assert load("shown-thermal-v1", MAKE.npy(values), {"unit": unit, **span}, LIMITS) == pytest.approx(plain, abs=0.01)


@few
@given(low=st.floats(-100, 100), span=st.floats(1, 50), above=st.booleans())
def test_a_flat_map_is_refused_with_its_numbers(low, span, above):
    values = np.linspace(low + span, low + 2 * span, 64).reshape(8, 8)
    limits = {"low": low - 3 * span, "high": low} if above else {"low": low + 3 * span, "high": low + 9 * span}
    with pytest.raises(InvalidMedia, match="every value lies " + ("above high" if above else "below low")):
        load("shown-thermal-v1", MAKE.npy(values), limits, LIMITS)


@few
@given(level=st.integers(0, 255), recipe=st.sampled_from(["lite0-image-v1", "lite0-video-v1"]))
def test_emptiness_is_said(level, recipe):
    flat = np.full((48, 64, 3), level, np.uint8)
    data = MAKE.saved(Image.fromarray(flat)) if "image" in recipe else MAKE.video([flat] * 4)
    assert "is all" in read(recipe, data, {}, LIMITS)[1].empty
    for channels in (1, 2, 6):
        silent = read("mixed-audio-v1", MAKE.sound(np.zeros((16000, channels))), {}, LIMITS)[1]
        assert (silent.warnings, silent.empty) == (["The sound is silent."], "The sound is silent.")
    still = np.tile([0, 0, 9.81, 0, 0, 0], (100, 1))
    assert read("imu-v1", MAKE.npy(still), {"rate_hz": 50.0}, LIMITS)[1].empty == "The recording is motionless."


@few
@given(junk=st.binary(min_size=1, max_size=3000).filter(lambda junk: junk[:1] not in b"\xffRIFOfc.#\x1a\x00"))
def test_an_mp3_behind_junk_and_a_wav_of_size_zero_are_heard(junk):
    mp3 = MAKE.sound(MAKE.tone(), kind="MP3")
    clean = load("mixed-audio-v1", mp3, {}, LIMITS)
    assert (
        load("mixed-audio-v1", junk + mp3, {}, LIMITS)[0, 0].mean(axis=1).argmax() == clean[0, 0].mean(axis=1).argmax()
    )
    wav = bytearray(MAKE.sound(MAKE.tone(), subtype="PCM_16"))
    at = wav.index(b"data")
    wav[4:8] = wav[at + 4 : at + 8] = b"\0\0\0\0"
    assert load("mixed-audio-v1", bytes(wav), {}, LIMITS).shape == (3, 1, 128, 204)


def test_a_large_jpeg_is_decoded_smaller():
    data = MAKE.picture(4000, 3000, kind="JPEG")
    array, notes = read("lite0-image-v1", data, {}, Limits(pixels=2_000_000))
    assert notes.warnings == ["the picture has 12,000,000 pixels; it is decoded at 1/4 of its sides"]
    assert array == pytest.approx(load("lite0-image-v1", data, {}, LIMITS), abs=0.1)


@few
@given(kind=st.sampled_from(["GIF", "WEBP", "PNG"]), count=st.integers(1, 12))
def test_an_animation_is_a_video(kind, count):
    frames = [Image.fromarray(np.full((48, 64), 20 * index, np.uint8)).convert("RGB") for index in range(count)]
    extra = {
        "save_all": True,
        "append_images": frames[1:],
        "duration": 100,
        **({"lossless": True} if kind == "WEBP" else {}),
    }
    clips = load("lite0-video-v1", MAKE.saved(frames[0], kind, **extra), {}, LIMITS)
    shown = [round((float(clip.mean()) * 128 + 127) / 20) for clip in clips]
    assert shown == sorted(shown)
    assert shown[-1] == max(count - 1, 0)
