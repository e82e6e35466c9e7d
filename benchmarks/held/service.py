"""MiB of the gateway and the worker as served by default, before and while answers run. Proportional set sizes."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.contestants.servers import ServerContestant
from benchmarks.lib import procs
from benchmarks.lib.prompts import PASSAGE
from benchmarks.resident import default_server, kind_of

REACHED_S = 600.0
SETTLE_S = 5.0  # until allocators have given back to the system what the first answer took
SHARE = 0.9  # of their tokens that all answers have when memory is read
WATCHED = ("gateway", "worker")


@dataclass(frozen=True, slots=True)
class RunningAnswer:
    """Memory that one answer added, in MiB, with `tokens` of prompt and answer together."""

    at_once: int
    tokens: int
    added: Mapping[str, float]


def running_answers(model: Path, widths: Sequence[int], new: int) -> list[RunningAnswer]:
    """Each width in a service of its own: a cache takes memory when a sequence first gets that far, and keeps it."""
    return [_running(model, width, new) for width in widths]


def _running(model: Path, at_once: int, new: int) -> RunningAnswer:
    service = ServerContestant(default_server(model))
    service.start()
    try:
        OpenAnswers(service.port, model.name, 1, new).closed()  # allocators and shapes of one answer
        time.sleep(SETTLE_S)
        before = _held(service)
        answers = OpenAnswers(service.port, model.name, at_once, new)
        answers.reached(int(SHARE * new))
        during = _held(service)
        answers.closed()
    finally:
        service.stop()
    added = {kind: (during[kind] - before[kind]) / at_once for kind in WATCHED}
    return RunningAnswer(at_once, answers.prompt_tokens + int(SHARE * new), added)


def _held(service: ServerContestant) -> dict[str, float]:
    found = dict.fromkeys(WATCHED, 0.0)
    for pid in service.pids():
        kind = kind_of(pid)
        if kind in found:
            found[kind] += procs.proportional_mib(pid)
    return found


class OpenAnswers:
    """Streams that run side by side, each in a thread."""

    def __init__(self, port: int, model: str, count: int, new: int) -> None:
        self.prompt_tokens = 0
        self._body = {
            "model": model,
            "max_tokens": new,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._tokens = [0] * count
        self._threads = [threading.Thread(target=self._read, args=[number], daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def reached(self, tokens: int) -> None:
        """Returns when each answer has so many."""
        limit = time.monotonic() + REACHED_S
        while min(self._tokens) < tokens:
            if time.monotonic() > limit or not any(thread.is_alive() for thread in self._threads):
                raise TimeoutError(f"answers of {self._tokens} tokens, {tokens} wanted of each")
            time.sleep(0.01)

    def closed(self) -> None:
        for thread in self._threads:
            thread.join(REACHED_S)

    def _read(self, number: int) -> None:
        messages = [{"role": "user", "content": f"{number} {PASSAGE[:400]}"}]
        with httpx.stream(
            "POST", self._url, json={**self._body, "messages": messages}, timeout=REACHED_S, trust_env=False
        ) as answered:
            answered.raise_for_status()
            for line in answered.iter_lines():
                if line.startswith("data: {"):
                    self._count(number, line)

    def _count(self, number: int, line: str) -> None:
        usage = json.loads(line.removeprefix("data: ")).get("usage") or {}
        self._tokens[number] = usage.get("completion_tokens", self._tokens[number])
        self.prompt_tokens = usage.get("prompt_tokens", self.prompt_tokens)
