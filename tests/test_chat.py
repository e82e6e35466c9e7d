"""`pandagpt chat` against a service on loopback that answers from a script."""

import base64
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service import cli


def event(**fields: Any) -> bytes:
    return b"id: 1\ndata: " + json.dumps(fields).encode() + b"\n\n"


def says(*texts: str) -> bytes:
    """A good stream, as the service writes it."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    body = b": keep-alive\n" + b"".join(event(choices=[{"index": 0, "delta": delta}]) for delta in deltas)
    end = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]) + event(choices=[], usage={})
    return body + end + b"data: [DONE]\n\n"


@dataclass
class Service:
    """Answers the n-th request with the n-th answer, (status, body), and keeps what it was sent."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    script = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            script.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            script.keys.append(self.headers["authorization"])
            status, body = script.answers.pop(0)
            self.send_response(status)
            self.send_header("content-type", "text/event-stream" if status == 200 else "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield script
        server.shutdown()


@pytest.fixture
def chat(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run the command with `lines` typed; its exit status."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, lines: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return cli.main(["chat", "--url", service.url, *words])

    return run


def test_one_question_prints_the_streamed_answer(
    chat: Callable[..., int], service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers = [(200, says("A ", "dog."))]
    assert chat("--max-tokens", "9", "--seed", "3", "What", "is this?") == 0
    assert capsys.readouterr().out == "A dog.\n"
    assert service.bodies == [
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}],
            "max_tokens": 9,
            "seed": 3,
            "stream": True,
        }
    ]


def test_explain_prints_what_each_medium_contributed(
    chat: Callable[..., int], service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    media = [{"modality": "image", "turn": 0, "gain": 0.254}, {"modality": "audio", "turn": 2, "gain": -1.5}]
    found = event(choices=[{"index": 0, "delta": {}, "fields": {"contributions": {"media": media}}}])
    service.answers = [(200, says("A dog.").replace(b"data: [DONE]", found.removeprefix(b"id: 1\n") + b"data: [DONE]"))]
    assert chat("--explain", "What is it?") == 0
    assert capsys.readouterr().out == "A dog.\n  audio of message 3: -1.50 nats\n  image of message 1: +0.25 nats\n"
    assert service.bodies[0]["explain"] is True


def test_media_become_parts_with_their_options(chat: Callable[..., int], service: Service, tmp_path: Path) -> None:
    service.answers = [(200, says("ok"))]
    (tmp_path / "my dog.jpg").write_bytes(b"jpeg")
    (tmp_path / "room.png").write_bytes(b"png")
    (tmp_path / "walk.csv").write_bytes(b"1,2")
    depth, imu = "room.png unit=mm focal_px=500 weight=0.5", "walk.csv rate_hz=100"
    assert chat("--image", "'my dog.jpg'", "--depth", depth, "--imu", imu, "Well?") == 0
    [message] = service.bodies[0]["messages"]

    def url(kind: str, data: bytes) -> str:
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"

    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": url("image/jpeg", b"jpeg")}},
        {
            "type": "depth_url",
            "depth_url": {"url": url("image/png", b"png"), "depth": {"unit": "mm", "focal_px": 500.0}},
            "weight": 0.5,
        },
        {"type": "imu_url", "imu_url": {"url": url("text/csv", b"1,2"), "imu": {"rate_hz": 100.0}}},
        {"type": "text", "text": "Well?"},
    ]


def test_a_path_is_taken_as_it_is_from_the_shell_and_from_the_keyboard(
    chat: Callable[..., int], service: Service, tmp_path: Path
) -> None:
    service.answers = [(200, says("ok")), (200, says("ok"))]
    path = tmp_path / 'Ann\'s "best" dog.jpg'
    path.write_bytes(b"jpeg")
    assert chat("--image", path.name, lines=f"Well?\n/image {path}\nAnd now?\n") == 0
    assert [body["messages"][-1]["content"][0]["type"] for body in service.bodies] == ["image_url", "image_url"]


def test_an_address_without_its_scheme_is_named(chat: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert chat("--url", "127.0.0.1:8000", "hello") == 2
    assert "127.0.0.1:8000 is no address; it begins with http://" in capsys.readouterr().err


def test_a_conversation_carries_its_history_until_it_is_cleared(
    chat: Callable[..., int], service: Service, tmp_path: Path
) -> None:
    service.answers = [(200, says("A dog.")), (200, says("Brown.")), (200, says("Hello."))]
    (tmp_path / "dog.jpg").write_bytes(b"jpeg")
    typed = "/image dog.jpg\n/text barking\nWhat is it?\nWhich colour?\n/clear\nHi\n/quit\nnever sent\n"
    assert chat("--system", "Be short.", lines=typed) == 0
    first, second, third = (body["messages"] for body in service.bodies)
    assert [part["type"] for part in first[1]["content"]] == ["image_url", "context_text", "text"]
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": "A dog."}
    assert second[3] == {"role": "user", "content": [{"type": "text", "text": "Which colour?"}]}
    assert [message["role"] for message in third] == ["system", "user"]


def test_a_failed_answer_is_told_and_the_same_media_go_with_the_next_try(
    chat: Callable[..., int], service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dog.jpg").write_bytes(b"jpeg")
    error = {"message": "the queue is full", "type": "server_error", "param": None, "code": "overloaded"}
    broken = event(choices=[{"index": 0, "delta": {"content": "A d"}}])
    service.answers = [
        (503, json.dumps({"error": error}).encode()),
        (
            200,
            broken + event(error={**error, "message": "no worker left", "code": "worker_lost"}) + b"data: [DONE]\n\n",
        ),
        (200, broken),
        (502, b"<html>"),
        (200, says("A dog.")),
    ]
    assert chat("--image", "dog.jpg", lines="What?\n" * 5) == 0
    assert capsys.readouterr().err.splitlines() == [
        "error: the queue is full (overloaded)",
        "error: no worker left (worker_lost)",
        "error: the connection broke before the answer's end",
        "error: the service answered with status 502",
    ]
    assert all(body == service.bodies[0] for body in service.bodies)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/image nowhere.jpg", "error: cannot read nowhere.jpg: No such file or directory"),
        ("/imu walk.csv rate=3", "error: imu has no option 'rate'; it has weight, rate_hz, units"),
        ("/imu walk.csv rate_hz=fast", "error: rate_hz is 'fast', which is no number"),
        ("/image", "error: cannot read a file without a name: Is a directory"),
        ("/image 'dog", "error: cannot read the line: No closing quotation"),
    ],
)
def test_a_wrong_command_is_told_and_attaches_nothing(
    line: str,
    complaint: str,
    chat: Callable[..., int],
    service: Service,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "walk.csv").write_bytes(b"1,2")
    service.answers = [(200, says("Hello."))]
    assert chat(lines=f"{line}\nHi\n") == 0
    assert capsys.readouterr().err.strip() == complaint
    assert service.bodies[0]["messages"][0]["content"] == [{"type": "text", "text": "Hi"}]


def test_a_service_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert cli.main(["chat", "--url", url, "Hi"]) == 1
    assert capsys.readouterr().err.startswith(f"error: nothing answers at {url}; start it with `pandagpt serve`")


def test_the_key_comes_from_the_settings(
    chat: Callable[..., int], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers = [(200, says("Hello."))]
    monkeypatch.setenv("PANDAGPT_CLIENT_KEY", "secret")
    assert chat("Hi") == 0
    assert service.keys == ["Bearer secret"]


def test_an_unknown_command_lists_the_known(chat: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert chat(lines="/what\n") == 0
    output = capsys.readouterr().out
    assert "/imu PATH [rate_hz=…]" in output
    assert "/clear" in output


def test_a_refused_key_names_the_setting_that_holds_it(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"error": {"message": "The key is missing.", "code": "invalid_api_key"}}
    service.answers = [(401, json.dumps(refusal).encode())]
    assert cli.main(["chat", "--url", service.url, "What is this?"]) == 1
    assert capsys.readouterr().err == (
        "error: The key is missing. (invalid_api_key); set PANDAGPT_CLIENT_KEY to the key of this service\n"
    )
