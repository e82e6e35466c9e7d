"""`pandagpt demo`: its questions, the form of each medium that it sends, and its output."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from service.commands.client.demo import asked, part, shown, taken
from service.commands.client.talk import Talk
from service.local.samples import Sample, questions
from tests.chaos.house import until

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def dog(tmp_path: Path) -> Sample:
    (tmp_path / "dog.png").write_bytes(b"picture")
    return Sample("image", tmp_path / "dog.png")


def talk(answer: Answer) -> Talk:
    return Talk(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://service"), {})


def says(text: str) -> Answer:
    delta = json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})
    return lambda _: httpx.Response(200, text=f"data: {delta}\n\ndata: [DONE]\n\n")


def test_a_line_holds_what_was_asked_about_and_the_answer(dog: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(talk(says("This is\na dog.")), [dog, dog], 0)
    assert capsys.readouterr().out == "image dog.png + image dog.png   This is a dog.\n"


def test_what_the_service_refuses_is_said_and_counts_as_failed(dog: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"error": {"message": "no tower for image", "type": "invalid_request_error"}}
    assert not asked(talk(lambda _: httpx.Response(400, json=refused)), [dog], 20)
    assert capsys.readouterr().out.startswith("image dog.png          error: ")


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for modality in ("image", "text"):
        assert not asked(talk(says("")), [Sample(modality, tmp_path / "none")], 0)
        assert "error: cannot read" in capsys.readouterr().out


def test_options_go_where_the_service_looks_for_them(tmp_path: Path) -> None:
    path = tmp_path / "a room-depth.png"
    path.write_bytes(b"map")
    sent = part(Sample("depth", path, {"unit": "mm", "focal_px": 525.0}))
    assert sent["type"] == "depth_url"
    assert sent["depth_url"]["depth"] == {"unit": "mm", "focal_px": 525.0}


def test_a_text_is_sent_as_context(tmp_path: Path) -> None:
    (tmp_path / "violin.txt").write_text("a violin\n")
    sent = part(Sample("text", tmp_path / "violin.txt"))
    assert sent == {"type": "context_text", "context_text": "a violin\n"}


def test_a_folder_says_what_to_ask_about(tmp_path: Path) -> None:
    groups = [[{"modality": "image", "file": "a.png"}, {"modality": "imu", "file": "b.csv", "options": {"rate_hz": 5}}]]
    (tmp_path / "asks.json").write_text(json.dumps(groups))
    assert questions(tmp_path) == [
        [Sample("image", tmp_path / "a.png"), Sample("imu", tmp_path / "b.csv", {"rate_hz": 5})]
    ]


@pytest.mark.parametrize("said", ["{", '{"a": 1}', "[[{}]]", "[1]"])
def test_what_is_no_list_of_questions_is_refused_by_name(tmp_path: Path, said: str) -> None:
    (tmp_path / "asks.json").write_text(said)
    with pytest.raises(ValueError, match=r"asks\.json is no list of questions"):
        questions(tmp_path)


def test_files_of_a_folder_without_questions_are_taken_one_by_one(tmp_path: Path) -> None:
    for name in ("b.png", "c.wav", "a.png"):
        (tmp_path / name).touch()
    a, b, c = (
        Sample("image", tmp_path / "a.png"),
        Sample("image", tmp_path / "b.png"),
        Sample("audio", tmp_path / "c.wav"),
    )
    assert questions(tmp_path) == [[a], [b], [c], [a, c]]


def test_places_are_printed_and_the_picture_with_its_boxes_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scene.png").write_bytes(b"picture")
    box = {"x0": 10.2, "y0": 20.0, "x1": 30.0, "y1": 40.0}
    answer = {"id": "r1", "choices": [{"message": {"objects": [{"label": "red dog", "box": box}]}}]}

    def service(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/requests/r1/annotated":
            return httpx.Response(200, content=b"drawn")
        assert b'name="task"\r\n\r\ngrounding' in request.read()
        return httpx.Response(200, json=answer)

    client = httpx.Client(transport=httpx.MockTransport(service), base_url="http://service")
    assert shown(client, tmp_path / "scene.png", tmp_path / "new" / "places.png")
    assert (tmp_path / "new" / "places.png").read_bytes() == b"drawn"
    assert "  red dog: x0 10, y0 20, x1 30, y1 40\n" in capsys.readouterr().out


def test_a_service_that_refuses_a_picture_fails_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scene.png").write_bytes(b"picture")
    transport = httpx.MockTransport(lambda _: httpx.Response(400, json={}))
    assert not shown(
        httpx.Client(transport=transport, base_url="http://service"), tmp_path / "scene.png", tmp_path / "x"
    )
    assert "error: Client error '400 Bad Request'" in capsys.readouterr().out


def test_media_that_the_model_does_not_take_are_left_out(dog: Sample) -> None:
    models = {"data": [{"id": "m", "input_modalities": ["image", "text"]}]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=models))
    cloud = Sample("points", dog.path)
    with httpx.Client(transport=transport, base_url="http://service") as client:
        assert taken(client, [[dog], [cloud], [dog, cloud]]) == [[dog]]


@pytest.mark.skipif(sys.platform != "linux", reason="a parent's death is reported by Linux alone")
def test_a_demo_that_is_killed_leaves_no_service_behind() -> None:
    code = (
        "import os, sys; from service.commands.client.demo import started; "
        "made = started([sys.executable, '-c', 'import time; time.sleep(600)'], os.environ); "
        "print(made.pid, flush=True); made.wait()"
    )
    demo = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    service = int(demo.stdout.readline())
    assert _runs(service)
    demo.kill()
    demo.wait()
    demo.stdout.close()
    until(lambda: not _runs(service), "the service's end")


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
