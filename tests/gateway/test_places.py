"""Places in pictures over HTTP: task and boxes in, objects out as they complete, the annotated picture, bad input."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pandagpt_core.options import MAX_BOXES
from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import WorkerThread, worker_thread
from tests.gateway.pointing import ANSWER, Pointing, picture

DOG = {"label": "a dog", "box": {"x0": 20.0, "y0": 20.0, "x1": 110.0, "y1": 80.0}, "box_norm": [0.1, 0.2, 0.55, 0.8]}
CORNER = {"label": "a dog", "box": {"x0": 0.0, "y0": 0.0, "x1": 10.0, "y1": 5.0}, "box_norm": [0.0, 0.0, 0.05, 0.05]}
RIGHT = {"label": "a cat", "box": {"x0": 100.0, "y0": 10.0, "x1": 200.0, "y1": 90.0}, "box_norm": [0.5, 0.1, 1.0, 0.9]}


@pytest.fixture
def runtime() -> Pointing:
    return Pointing()


@pytest.fixture
def worker(valkey: Valkey, runtime: Pointing) -> Iterator[WorkerThread]:
    with worker_thread(valkey.settings, runtime, lost_after_s=15.0) as worker:
        yield worker


@pytest.fixture
def http(shared_gateway: tuple[str, GatewayState], worker: WorkerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_gateway[0], timeout=30, trust_env=False) as client:
        yield client


def form(http: httpx.Client, image: bytes | None = None, **fields: Any) -> httpx.Response:
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    files = {"image": ("a.png", image)} if image is not None else {"_": (None, b"")}
    return http.post("/v1/generate", data={"prompt": "the dog", **words}, files=files)


def message(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["choices"][0]["message"]
    return found


def test_an_answers_boxes_come_in_pixels_beside_its_text(http: httpx.Client, runtime: Pointing) -> None:
    answer = form(http, picture(), task="detection")
    assert message(answer)["content"] == ANSWER
    assert message(answer)["objects"] == [DOG, CORNER, RIGHT]
    assert message(answer)["malformed_boxes"] == ["{<1><2>}"]
    assert answer.json()["choices"][0]["fields"] == {"length": len(ANSWER)}
    assert runtime.asked[0].turns[-1].text == "[detection] the dog"


def test_a_task_stands_first_also_before_a_picture_of_one_colour(http: httpx.Client, runtime: Pointing) -> None:
    plain = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(plain, "PNG")
    answer = form(http, plain.getvalue(), task="detection")
    assert any("one colour" in warning for warning in answer.json()["warnings"])
    assert runtime.asked[-1].turns[-1].text == "[detection] the dog"


def test_pixels_are_those_of_the_picture_as_a_viewer_turns_it(http: httpx.Client) -> None:
    turned = message(form(http, picture(orientation=6)))["objects"][0]["box"]
    assert turned == {"x0": 10.0, "y0": 40.0, "x1": 55.0, "y1": 160.0}


def test_a_stream_gives_each_object_with_the_text_that_completes_it(http: httpx.Client) -> None:
    streamed = form(http, picture(), stream=True, annotate=True)
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    text, seen = "", []
    for delta in deltas:
        text += delta.get("content", "")
        for one in delta.get("objects", []):
            seen.append(one)
            assert text.rstrip("<delim ").count("}") >= len(seen)
    assert seen == [DOG, CORNER, RIGHT]
    assert text == ANSWER
    [end] = [delta for delta in deltas if "malformed_boxes" in delta]
    assert end == {"malformed_boxes": ["{<1><2>}"], "annotated": f"/v1/requests/{chunks[0]['id']}/annotated"}


def test_a_response_has_them_too_whole_and_in_its_events(http: httpx.Client) -> None:
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "the dog"}]
    body = {"input": [{"role": "user", "content": content}], "task": "detection", "annotate": True}
    whole = http.post("/v1/responses", json=body).json()
    [item] = whole["output"]
    assert (item["objects"], item["malformed_boxes"]) == ([DOG, CORNER, RIGHT], ["{<1><2>}"])
    assert whole["fields"] == {"length": len(ANSWER)}
    assert http.get(item["annotated"]).headers["content-type"] == "image/png"
    assert http.get(f"/v1/responses/{whole['id']}").json()["output"] == [item]
    streamed = http.post("/v1/responses", json={**body, "stream": True})
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    deltas = [one for event in events if event["type"].endswith("text.delta") for one in event.get("objects", [])]
    assert deltas == [DOG, CORNER, RIGHT]
    [ended] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert ended["objects"] == events[-1]["response"]["output"][0]["objects"] == [DOG, CORNER, RIGHT]


def test_a_response_says_what_readers_of_its_media_remarked(http: httpx.Client) -> None:
    plain = io.BytesIO()
    Image.new("RGB", (32, 32), "grey").save(plain, "PNG")
    url = "data:image/png;base64," + base64.b64encode(plain.getvalue()).decode()
    content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "the dog"}]
    whole = http.post("/v1/responses", json={"input": [{"role": "user", "content": content}]}).json()
    assert any("one colour" in warning for warning in whole["warnings"])


def test_a_stream_that_is_read_again_is_the_same(http: httpx.Client) -> None:
    streamed = form(http, picture(), stream=True)
    request_id = json.loads(streamed.text.split("data: ")[1].split("\n")[0])["id"]
    again = http.get(f"/v1/requests/{request_id}/events")
    assert [line for line in again.text.splitlines() if line] == [line for line in streamed.text.splitlines() if line]


@pytest.mark.parametrize(("boxes", "unit"), [([[20, 20, 110, 80]], "pixels"), ([[0.1, 0.2, 0.55, 0.8]], "fraction")])
def test_boxes_reach_the_model_on_its_grid(
    http: httpx.Client, runtime: Pointing, boxes: list[list[float]], unit: str
) -> None:
    message(form(http, picture(), task="identify", boxes=boxes, boxes_unit=unit))
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "the dog"}]
    body = {"messages": [{"role": "user", "content": parts}], "task": "identify", "boxes": boxes, "boxes_unit": unit}
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    texts = {conversation.turns[-1].text for conversation in runtime.asked}
    assert texts == {"[identify] the dog {<10><20><55><80>}"}


def test_the_annotated_picture_is_there_once_the_request_has_ended(http: httpx.Client) -> None:
    answer = form(http, picture(orientation=6), annotate=True)
    drawn = http.get(message(answer)["annotated"])
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(drawn.content)).size == (100, 200)
    plain = np.asarray(Image.open(io.BytesIO(drawn.content)).convert("RGB"))
    assert (plain != plain[..., :1]).any()  # the picture itself is grey


def test_a_picture_is_kept_only_where_that_was_asked(http: httpx.Client) -> None:
    answer = form(http, picture())
    assert "annotated" not in message(answer)
    refused = http.get(f"/v1/requests/{answer.json()['id']}/annotated")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "request_not_found")


def test_a_request_that_runs_has_no_annotated_picture_yet(
    shared_gateway: tuple[str, GatewayState], valkey: Valkey
) -> None:
    with (
        worker_thread(valkey.settings, Pointing(waits=True), lost_after_s=15.0),
        httpx.Client(base_url=shared_gateway[0], timeout=30, trust_env=False) as http,
        http.stream(
            "POST",
            "/v1/generate",
            data={"prompt": "x", "annotate": "true", "stream": "true"},
            files={"image": picture()},
        ) as stream,
    ):
        line = next(line for line in stream.iter_lines() if line.startswith("data: "))
        refused = http.get(f"/v1/requests/{json.loads(line[6:])['id']}/annotated")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "request_not_ended")


def test_a_choice_that_there_is_not_has_no_picture(http: httpx.Client) -> None:
    answer = form(http, picture(), annotate=True, n=2)
    at = message(answer)["annotated"]
    assert http.get(at, params={"choice": 1}).status_code == 200
    assert http.get(at, params={"choice": 2}).status_code == 404


Bad = list[tuple[dict[str, Any], bool, str, str]]
# Refused by the model, in its worker: a stream may have begun by then.
BY_MODEL: Bad = [
    ({"task": "vqa"}, False, "task", "the task vqa needs a picture"),
    ({"task": "identify"}, True, "boxes", "the task identify needs boxes"),
]
AT_ONCE: Bad = [
    ({"task": "sing"}, True, "task", "task must be one of vqa"),
    ({"task": "identify", "boxes": [[0, 0, 201, 50]]}, True, "boxes", "outside of the picture of 200 x 100"),
    ({"task": "identify", "boxes": [[-1, 0, 20, 50]]}, True, "boxes", "outside of the picture of 200 x 100"),
    ({"task": "identify", "boxes": [[50, 0, 20, 50]]}, True, "boxes", "left, top, right, bottom"),
    ({"task": "identify", "boxes": [[0, 0, 2, 1]], "boxes_unit": "fraction"}, True, "boxes", "the limit is 1"),
    ({"task": "identify", "boxes": [[0, 0, 1, 1]] * 200}, True, "boxes", f"200 boxes; the limit is {MAX_BOXES}"),
    ({"task": "identify", "boxes": [[0, 0, 1, 1]]}, False, "boxes", "boxes in pixels need a picture"),
    ({"task": "vqa", "options": {"task": "refer"}}, True, "task", "given twice"),
    ({"annotate": True}, False, "annotate", "annotate needs a picture"),
]


@pytest.mark.parametrize(("fields", "with_picture", "param", "words"), [*AT_ONCE, *BY_MODEL])
def test_bad_input_is_a_400_that_names_the_field(
    http: httpx.Client, fields: dict[str, Any], with_picture: bool, param: str, words: str
) -> None:
    refused = form(http, picture() if with_picture else None, **fields)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_request", param), error
    assert words in error["message"]


@pytest.mark.parametrize(("fields", "with_picture", "param", "words"), AT_ONCE)
def test_bad_input_is_no_begun_stream_either(
    http: httpx.Client, fields: dict[str, Any], with_picture: bool, param: str, words: str
) -> None:
    refused = form(http, picture() if with_picture else None, stream=True, **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert words in refused.json()["error"]["message"]


@pytest.mark.parametrize("boxes", ["[[1,2,3]]", "[1]", "x", "[[1,2,3,null]]", "[[1,2,3,1e9]]", '[["1",2,3,4]]'])
def test_boxes_that_are_no_boxes_are_refused(http: httpx.Client, boxes: str) -> None:
    refused = form(http, picture(), task="identify", boxes=boxes)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
    assert refused.json()["error"]["param"].startswith("boxes")


def test_the_guides_lines_run_as_they_stand(http: httpx.Client, tmp_path: Path, root: Path) -> None:
    page = (root / "docs" / "guides" / "locate.md").read_text(encoding="utf-8")
    (tmp_path / "dog.png").write_bytes(picture())
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        code = block.replace("http://127.0.0.1:8000", str(http.base_url).rstrip("/"))
        done = subprocess.run(["bash", "-ec", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert '"error"' not in done.stdout
    assert Image.open(io.BytesIO((tmp_path / "boxes.png").read_bytes())).size == (200, 100)
