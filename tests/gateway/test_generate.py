"""The multipart door: same answers and events as chat, any mix of files and fields, bad input refused in words."""

import io
import json
import re
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from pandagpt_core.media import samples
from pandagpt_core.types import Modality
from service.gateway.state import GatewayState
from tests.fakes import FakeRuntime

PNG = samples.picture("PNG")
DEPTH = samples.npy(np.ones((8, 8), np.float32))
IMU = samples.npy(np.ones((400, 6), np.float32))


def ask(http: httpx.Client, files: list[tuple[str, bytes]] | None = None, **fields: object) -> httpx.Response:
    data = {"prompt": "What is it?", "max_tokens": "4", "seed": "7", **fields}
    sent = [(name, ("file", content)) for name, content in files or []]
    return http.post("/v1/generate", data=data, files=sent or {"_": (None, b"")})


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(response.content) < 4096
    return response.status_code, error["code"], error["param"]


def test_all_six_modalities_and_text_in_one_form(http: httpx.Client, runtime: FakeRuntime) -> None:
    files = [("image", PNG), ("image", samples.picture("JPEG")), ("audio", samples.tone()), ("video", samples.film())]
    files += [("depth", DEPTH), ("thermal", PNG), ("imu", IMU), ("points", b"0 0 0\n1 0 0\n0 1 0\n")]
    parameters = {"depth_unit": "m", "depth_focal_px": "500", "depth_baseline_m": "0.1", "imu_rate_hz": "50"}
    answer = ask(http, files, text=["a dog", "a cat"], weights='{"image": [1, 0.5]}', **parameters)
    assert answer.status_code == 200, answer.text
    assert runtime.encoded == dict.fromkeys(Modality, 1) | {Modality.IMAGE: 2, Modality.TEXT: 2}
    assert answer.json()["object"] == "chat.completion"
    assert answer.json()["usage"]["prompt_tokens_details"]["image_items"] == 2


def test_it_answers_and_streams_as_chat_does(http: httpx.Client) -> None:
    message = {"messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 4, "seed": 7}
    chat = http.post("/v1/chat/completions", json=message).json()["choices"]
    assert ask(http).json()["choices"] == chat
    stream = ask(http, stream="true", include_usage="true")
    assert stream.headers["content-type"].startswith("text/event-stream")
    data = [json.loads(line) for line in re.findall(r"data: (\{.*)", stream.text)]
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in data if one["choices"])
    assert text == chat[0]["message"]["content"]
    assert data[-1]["usage"]["completion_tokens"] == 4
    assert stream.text.endswith("data: [DONE]\n\n")


def test_earlier_turns_come_as_json(http: httpx.Client) -> None:
    earlier = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]
    chat = {"messages": [*earlier, {"role": "user", "content": "What is it?"}], "max_tokens": 4, "seed": 7}
    expected = http.post("/v1/chat/completions", json=chat).json()["choices"]
    assert ask(http, messages=json.dumps(earlier)).json()["choices"] == expected


def test_stops_may_be_repeated(http: httpx.Client) -> None:
    words = ask(http).json()["choices"][0]["message"]["content"].split()
    stopped = ask(http, stop=["none such", f" {words[2]}"]).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"].split() == words[:2]


def test_a_weight_changes_the_answer(http: httpx.Client) -> None:
    plain = ask(http, [("image", PNG)]).json()["choices"]
    assert ask(http, [("image", PNG)], weights='{"image": [0.5]}').json()["choices"] != plain


def test_unknown_fields_are_ignored_and_named(http: httpx.Client) -> None:
    assert ask(http, colour="blue").headers["x-ignored-params"] == "colour, _"


@pytest.mark.parametrize("data", [PNG, PNG * 20_000, b"1,2,3"])
def test_a_file_under_an_unknown_name_is_refused_and_not_left_out_of_the_answer(
    http: httpx.Client, data: bytes
) -> None:
    answer = http.post("/v1/generate", data={"prompt": "What is it?"}, files={"picture": ("dog.png", data)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "picture")
    assert "picture takes no file; files go into: image, video" in answer.json()["error"]["message"]


def test_text_fields_may_come_from_files(http: httpx.Client) -> None:
    fields = {"prompt": "What is it?", "max_tokens": "4", "seed": "7"}
    as_files = {name: (f"{name}.txt", text) for name, text in fields.items()}
    answer = http.post("/v1/generate", files=as_files)
    assert answer.status_code == 200
    assert "x-ignored-params" not in answer.headers


WRONG_FIELDS: list[tuple[dict[str, object], str]] = [
    ({"prompt": ""}, "prompt"),
    ({"max_tokens": "0"}, "max_tokens"),
    ({"max_tokens": "lots"}, "max_tokens"),
    ({"temperature": "nan"}, "temperature"),
    ({"temperature": "inf"}, "temperature"),
    ({"top_p": "1e999"}, "top_p"),
    ({"n": "99"}, "n"),
    ({"stream": "perhaps"}, "stream"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"messages": "{"}, "messages"),
    ({"messages": '[{"role": "robot", "content": "x"}]'}, "messages[0].role"),
    ({"messages": '[], "x": 1'}, "messages"),
    ({"messages": '[{"role": "user", "content": [{"type": "image_url"}]}]'}, "messages[0].content[0].image_url"),
    ({"weights": '{"image": [1]}'}, "weights.image"),
    ({"weights": '{"image": [-1]}'}, "weights.image[0]"),
    ({"weights": '{"colour": [1]}'}, "weights.colour"),
    ({"weights": "[]"}, "weights"),
    ({"seed": ["1", "2"]}, "seed"),
    ({"model": "x" * 300}, "model"),
    ({"depth_unit": "feet"}, "depth_unit"),
]


def test_a_wrong_field_is_named(http: httpx.Client) -> None:
    for fields, param in WRONG_FIELDS:
        assert refusal(ask(http, **fields)) == (400, "invalid_request", param), fields
    assert ask(http).status_code == 200


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(out, "JPEG")
    return out.getvalue()


_NAN = np.full((8, 8), np.nan, np.float32)
BAD_MEDIA = {
    "a truncated JPEG": ("image", jpeg()[:4000], {}, "image"),
    "text named .png": ("image", b"This is no picture.", {}, "image"),
    "an empty file": ("image", b"", {}, "image"),
    "depth without a finite number": ("depth", samples.npy(_NAN), {"depth_unit": "disparity"}, "depth"),
    "depth without its camera": ("depth", DEPTH, {"depth_unit": "m"}, "depth_focal_px"),
    "depth without a unit": ("depth", DEPTH, {}, "depth_unit"),
    "IMU with five columns": ("imu", samples.npy(np.ones((400, 5), np.float32)), {"imu_rate_hz": "50"}, "imu"),
    "a playlist named video": ("video", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", {}, "video"),
    "a pickle in an npy": ("thermal", samples.npy(np.array([None], dtype=object)), {}, "thermal"),
    "a picture as sound": ("audio", PNG, {}, "audio"),
}


@pytest.mark.parametrize("what", list(BAD_MEDIA))
def test_bad_media_are_refused_before_anything_is_queued(http: httpx.Client, valkey: object, what: str) -> None:
    field, data, parameters, param = BAD_MEDIA[what]
    answer = ask(http, [(field, data)], **parameters)
    assert refusal(answer) == (400, "invalid_media", param)
    assert "0x" not in answer.text
    assert "/" not in answer.json()["error"]["message"].replace("and/or", "")
    assert not valkey.client.keys("*:record:*")
    assert ask(http, [("image", PNG)]).status_code == 200


def test_the_second_file_of_a_field_is_named_as_such(http: httpx.Client) -> None:
    assert refusal(ask(http, [("image", PNG), ("image", b"no")])) == (400, "invalid_media", "image[1]")


def test_more_media_than_the_limit(http: httpx.Client) -> None:
    assert refusal(ask(http, text=["word"] * 33)) == (400, "invalid_request", "prompt")
    assert refusal(ask(http, [("image", PNG)] * 33)) == (400, "invalid_request", None)


def test_300_megabytes_are_refused_early_and_not_kept(
    shared_gateway: tuple[str, GatewayState], http: httpx.Client
) -> None:
    """By declaration before a byte of it is read; undeclared, at the limit."""
    address = urlsplit(shared_gateway[0])
    declared = HTTPConnection(address.hostname, address.port, timeout=10)
    declared.putrequest("POST", "/v1/generate")
    declared.putheader("content-type", "multipart/form-data; boundary=x")
    declared.putheader("content-length", str(300 << 20))
    declared.endheaders()
    answer = declared.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "too_large"
    declared.close()

    grown = []
    for _ in range(3):  # the process does other things too: the least of three is what a body costs
        before, peak = resident(), Peak()
        with peak:
            status = post_in_chunks(address.hostname, address.port, 300 << 20)
        assert status in (413, None), "an answer, or a connection cut while we still wrote"
        grown.append(peak.bytes - before)
    assert min(grown) < 160 << 20, "the limit of one medium, and a copy while it grows"
    assert ask(http, [("image", PNG)]).status_code == 200


def post_in_chunks(host: str, port: int, size: int) -> int | None:
    connection = HTTPConnection(host, port, timeout=30)

    def body() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="video"; filename="v"\r\n\r\n'
        block = bytes(1 << 20)
        for _ in range(size >> 20):
            yield block
        yield b"\r\n--x--\r\n"

    try:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/v1/generate", body=body(), headers=headers, encode_chunked=True)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Peak:
    """The largest resident memory of this process while the block runs."""

    def __enter__(self) -> "Peak":
        self.bytes, self._on = resident(), True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._thread.join()

    def _watch(self) -> None:
        while self._on:
            self.bytes = max(self.bytes, resident())
            time.sleep(0.005)
