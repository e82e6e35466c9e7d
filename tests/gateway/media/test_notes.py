"""Readers' notes on media, on their way to the caller; sound of a video; base64 as clients write it; inspection."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import av
import httpx
import numpy as np
import pytest

from pandagpt_core.media import samples
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service.cli import main
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, expected_text, fake_embedding, worker_thread
from tests.media.conftest import Make
from tests.media.flir_file import radiometric

MAKE = Make()
OWN = {
    Modality.IMAGE: "lite0-image-v1",
    Modality.VIDEO: "lite0-video-v1",
    Modality.AUDIO: "mixed-audio-v1",
    Modality.IMU: "imu-v1",
    Modality.TEXT: "clip-bpe-v1",
}
SILENCE = MAKE.sound(np.zeros(32_000))
SILENT = "The sound is silent."


@pytest.fixture
def http(shared_gateway: tuple[str, object], valkey: Valkey) -> Iterator[httpx.Client]:
    """The shared gateway, before a worker whose recipes are our own."""
    runtime = FakeRuntime(info=replace(FAKE_INFO, recipes=OWN))
    with (
        worker_thread(valkey.settings, runtime, lost_after_s=15.0),
        httpx.Client(base_url=shared_gateway[0], timeout=30, trust_env=False) as client,
    ):
        yield client


def url(data: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def generate(http: httpx.Client, files: dict[str, tuple[str, bytes]], **fields: str) -> httpx.Response:
    answer = http.post("/v1/generate", data={"prompt": "What?", "seed": "7", "max_tokens": "4", **fields}, files=files)
    assert answer.status_code == 200, answer.text
    return answer


def film_with_sound(shade: int = 0) -> bytes:
    import io

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        picture, sound = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=16000, layout="mono")
        picture.width, picture.height = 64, 48
        for _ in range(20):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8))))
        container.mux(picture.encode())
        wave = av.AudioFrame.from_ndarray(MAKE.tone(2.0).astype(np.float32)[None], format="fltp", layout="mono")
        wave.sample_rate = 16000
        for packet in [*sound.encode(wave), *sound.encode(None)]:
            container.mux(packet)
    return out.getvalue()


def test_silence_stands_in_answer_header_and_prompt_also_from_the_cache(http: httpx.Client) -> None:
    for _ in range(2):
        answer = generate(http, {"audio": ("a.wav", SILENCE)})
        assert answer.json()["warnings"] == [f"audio: {SILENT}"]
        assert answer.headers["x-warnings"] == f"audio: {SILENT}"
        assert answer.json()["usage"]["media_spans"] == [{"modality": "audio", "seconds": [[0.0, 2.0]]}]
        said = answer.json()["choices"][0]["message"]["content"]
        from pandagpt_core.media import Limits, load

        told = Conversation((Turn("user", f"{SILENT}\nWhat?"),), (MediaUse(Modality.AUDIO, "", 0, 0.0),))
        heard = fake_embedding(Modality.AUDIO, load("mixed-audio-v1", SILENCE, {}, Limits()))
        assert said == expected_text(told, SamplingParams(max_tokens=4, temperature=1.0, seed=7), [heard])


def test_a_medium_that_holds_something_gives_no_warning(http: httpx.Client) -> None:
    answer = generate(http, {"audio": ("a.wav", MAKE.sound(MAKE.tone()))})
    assert "warnings" not in answer.json()
    assert "x-warnings" not in answer.headers


def test_a_stream_gives_the_warnings_with_its_first_chunk_alone(http: httpx.Client) -> None:
    part = {"type": "audio_url", "audio_url": {"url": url(SILENCE)}}
    body = {"messages": [{"role": "user", "content": [part]}], "stream": True, "max_tokens": 3}
    answer = http.post("/v1/chat/completions", json=body)
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert chunks[0]["warnings"] == [f"messages[0].content[0].audio_url.url: {SILENT}"]
    assert not any("warnings" in chunk for chunk in chunks[1:])


def test_embeddings_warn_in_a_header(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"input": [{"type": "audio_url", "audio_url": {"url": url(SILENCE)}}]})
    assert answer.headers["x-warnings"] == f"input[0].audio_url.url: {SILENT}"


def test_a_videos_sound_is_a_medium_where_it_is_asked_for(http: httpx.Client) -> None:
    film = film_with_sound()
    both = generate(http, {"video": ("v.mp4", film)}, video_audio="true").json()
    counts = both["usage"]["prompt_tokens_details"]
    assert (counts["video_items"], counts["audio_items"]) == (1, 1)
    assert both["warnings"] == ["video: The video is all black."]
    part = {"type": "video_url", "video_url": {"url": url(film), "video": {"use_audio": True}}}
    chat = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}]}).json()
    assert chat["usage"]["prompt_tokens_details"]["audio_items"] == 1
    for off in ({}, {"video_audio": "false"}):
        alone = generate(http, {"video": ("v.mp4", film)}, **off).json()
        assert alone["usage"]["prompt_tokens_details"]["audio_items"] == 0


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_film_is_inspected_with_its_own_sound_too(http: httpx.Client, value: str) -> None:
    sent = {"files": {"video": ("v.mp4", film_with_sound())}, "data": {"video_audio": value}}
    answer = http.post("/v1/media/inspect", **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["modality"] == "video"


def test_a_video_without_a_sound_refuses_to_give_it(http: httpx.Client) -> None:
    sent = {"files": {"video": ("v.mp4", samples.film())}, "data": {"prompt": "x", "video_audio": "true"}}
    error = http.post("/v1/generate", **sent).json()["error"]
    assert error["param"] == "video"
    assert "no sound" in error["message"]


@pytest.mark.parametrize("write", ["lines", "url-safe", "bare", "data url"])
def test_base64_is_read_as_clients_write_it(http: httpx.Client, write: str) -> None:
    data = MAKE.sound(MAKE.tone())
    written = {
        "lines": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "url-safe": base64.urlsafe_b64encode(data).decode(),
        "bare": base64.b64encode(data).decode().rstrip("="),
        "data url": url(data),
    }[write]
    part = {"type": "input_audio", "input_audio": {"data": written, "format": "whatever"}}
    answer = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 200, answer.text


def test_inspection_says_how_each_file_is_read(http: httpx.Client) -> None:
    table = "time (ms),ax (g),ay (g),az (g),gx (deg/s),gy (deg/s),gz (deg/s)\n"
    table += "\n".join(f"{20 * at},1,0,{at % 2},3,2,1" for at in range(50))
    files = [("imu", ("m.csv", table.encode())), ("audio", ("a.wav", SILENCE)), ("image", ("p.png", samples.picture()))]
    answer = http.post("/v1/media/inspect", files=files)
    assert answer.status_code == 200, answer.text
    motion, sound, picture = answer.json()["data"]
    assert motion["facts"]["rate"].startswith("50 Hz, 50 rows")
    assert motion["array"] == [1, 6, 2000]
    assert sound["warnings"] == [SILENT]
    assert picture["facts"]["type"] == "PNG"
    for one in (motion, sound, picture):
        assert base64.b64decode(one["preview"].partition(",")[2]).startswith(b"\x89PNG")


def test_inspection_gives_the_parameters_of_a_file_and_the_reasons_of_others(http: httpx.Client) -> None:
    files = [
        ("depth", ("d.npy", samples.depth_map())),
        ("thermal", ("t.jpg", radiometric())),
        ("image", ("p.png", samples.picture())),
    ]
    answer = http.post("/v1/media/inspect", params={"only": "parameters"}, files=files)
    assert answer.status_code == 200, answer.text
    depth, heat, picture = (one["parameters"] for one in answer.json()["data"])
    assert {name: one["value"] for name, one in depth.items()} == dict.fromkeys(
        ("unit", "scale", "focal_px", "baseline_m")
    )
    assert all("nothing in the file names it" in one["reason"] for one in depth.values())
    assert heat["unit"] == {"value": "celsius", "reason": "by the camera's own constants"}
    assert heat["low"]["value"] < heat["high"]["value"]
    assert picture == {}
    whole = http.post("/v1/media/inspect", files=files[1:2]).json()["data"][0]
    assert whole["parameters"] == heat


def test_an_uploaded_file_is_inspected_by_its_id(http: httpx.Client) -> None:
    upload = http.post("/v1/files", files={"file": ("t.jpg", radiometric())}, data={"purpose": "vision"}).json()
    field = {"thermal": (None, f"file:{upload['id']}")}
    for only in ({"only": "parameters"}, {}):
        answer = http.post("/v1/media/inspect", params=only, files=field)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][0]["parameters"]["unit"]["value"] == "celsius"


@pytest.mark.parametrize("kind", ["matlab", "hdf", "parquet"])
def test_files_of_scientific_tools_are_read_behind_the_lock(http: httpx.Client, kind: str) -> None:
    make = pytest.importorskip("pandagpt_core.media.scientific.samples", exc_type=ImportError)
    rows = np.sin(np.arange(300 * 6).reshape(300, 6) * 0.37)
    names = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
    data = getattr(make, kind)(dict(zip(names, rows.T, strict=True)))
    answer = http.post("/v1/media/inspect", files={"imu": ("m", data)}, data={"imu_rate_hz": "50"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["array"] == [1, 6, 2000]
    broken = http.post("/v1/media/inspect", files={"imu": ("m", data[: len(data) // 2])}, data={"imu_rate_hz": "50"})
    assert broken.status_code == 400, broken.text


def test_inspection_refuses_as_a_request_would(http: httpx.Client) -> None:
    for files, fields, param in (
        ({"depth": ("d.npy", samples.depth_map())}, {}, "depth_unit"),
        ({"image": ("p.png", b"no picture")}, {}, "image"),
        ({"image": ("p.png", samples.picture())}, {"recipe": "imu-v1"}, "recipe"),
        ({}, {}, None),
    ):
        answer = http.post("/v1/media/inspect", files=files or {"other": b""}, data=fields)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param


def test_the_inspect_command_prints_facts_and_writes_the_picture(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "silence.wav").write_bytes(SILENCE)
    made = tmp_path / "seen.png"
    assert main(["inspect", str(tmp_path / "silence.wav"), "clips=even", "--png", str(made)]) == 0
    printed = capsys.readouterr().out
    assert SILENT in printed
    assert "16000 Hz" in printed
    assert made.read_bytes().startswith(b"\x89PNG")
    assert main(["inspect", str(tmp_path / "silence.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [SILENT]
    (tmp_path / "x.png").write_bytes(b"no picture")
    assert main(["inspect", str(tmp_path / "x.png")]) == 1
    assert "none of JPEG" in capsys.readouterr().err
