"""Servers and how each is started: ours, vLLM, llama.cpp, transformers. All are asked by one client over SSE."""

import http.client
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.contestants.base import LOAD_S, ContestantSpec, Process
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import RunFailed
from benchmarks.lib.sse import Answer, Request, stream_all
from benchmarks.lib.stats import Run

SYSTEM = "You are a helpful AI assistant."  # said by us, or each server's template would add its own
AWAKE_S = 60.0  # for a server that stood still to be ready again


@dataclass(frozen=True, slots=True)
class Server:
    """`spec(port)` starts it; `ready` is a path that answers 200 once it serves.

    `ids_path` takes prompts of token ids, where the server can; `chat` is added to the body of chat completions, `ids`
    to that of the other. `ids_key` is the name of the answer's length there. `facts`: of a server that is ready, read
    from its scratch folder.
    """

    name: str
    spec: Callable[[int], ContestantSpec]
    ready: str = "/health"
    model: str = "bench"
    chat: Mapping[str, Any] = field(default_factory=dict)
    ids_path: str | None = None
    ids: Mapping[str, Any] = field(default_factory=dict)
    ids_key: str = "max_tokens"
    facts: Callable[[Path], Mapping[str, Any]] = lambda _scratch: {}


class ServerContestant:
    """A server's process, its readiness and its two dialects: prompts as token ids, or as one chat message."""

    through = "HTTP"

    def __init__(self, server: Server, favour: bool = False) -> None:
        self.name = server.name
        self.server, self._favour = server, favour
        self._process: Process | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> Mapping[str, Any]:
        self._port = free_port()
        self._process = Process(replace(self.server.spec(self._port), favour=self._favour), pipe=False)
        self._await_ready(LOAD_S)
        return self.server.facts(self._process.scratch)

    def generate(self, prompts: Sequence[Sequence[int]], new: int) -> Run:
        assert self.server.ids_path is not None
        bodies = [ids_body(self.server, ids, new) for ids in prompts]
        return self._run(self.server.ids_path, bodies)

    def chat(self, texts: Sequence[str], new: int) -> Run:
        """The same with each prompt as a user's message to /v1/chat/completions."""
        return self._run("/v1/chat/completions", [chat_body(self.server, text, new) for text in texts])

    def pids(self) -> list[int]:
        return self._process.pids() if self._process else []

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _run(self, path: str, bodies: Sequence[Mapping[str, Any]]) -> Run:
        self._await_ready(AWAKE_S)
        return run_of(stream_all([Request(self._port, path, body) for body in bodies]))

    def _await_ready(self, limit: float) -> None:
        assert self._process is not None
        end = time.monotonic() + limit
        while not answers(self._port, self.server.ready):
            if not self._process.pids():
                raise Absent(f"ended by itself: {self._process.last_words()}")
            if time.monotonic() > end:
                raise Absent(f"not ready after {limit:g} s: {self._process.last_words()}")
            time.sleep(0.05)


def run_of(answers: Sequence[Answer]) -> Run:
    """Raises RunFailed for an answer that failed or stayed empty."""
    for answer in answers:
        if answer.error or not answer.chunks:
            raise RunFailed(answer.error or "an empty answer")
    read = {answer.prompt_tokens for answer in answers if answer.prompt_tokens}
    return Run(
        arrivals=tuple(tuple(answer.chunks) for answer in answers),
        tokens=tuple(answer.tokens for answer in answers),
        prompt_tokens=max(read) if read else None,
    )


def chat_body(server: Server, text: str, new: int) -> dict[str, Any]:
    return {
        "model": server.model,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}],
        "max_tokens": new,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **server.chat,
    }


def ids_body(server: Server, ids: Sequence[int], new: int) -> dict[str, Any]:
    return {
        "model": server.model,
        "prompt": list(ids),
        server.ids_key: new,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **server.ids,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
