"""A stand-in for vLLM's AsyncLLM as far as it is used, over our own tiny model, after the behaviour of the real one.

It follows checks of the real one (0.32): requests are named by the caller and made unique inside; outputs are deltas,
several tokens in one where the reader is slow; a finished output is the last; `abort` ends the request's stream; a row
of wrong width or not finite ends the engine for all; every call on a dead engine raises.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import torch
from torch import Tensor

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.vllm.calls import PROCESSOR, Calls, VllmStats
from pandagpt_core.engine.vllm.sampling import VllmRow, keep_chosen, row_of
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import load_tokenizer

DELTA = "delta"
BLOCKS = 32


class EngineDeadError(Exception):
    """As vLLM's."""


@dataclass
class FakeSamplingParams:
    """The fields that are used; any other is a TypeError, as a misspelt one is with the real class."""

    temperature: float
    max_tokens: int
    ignore_eos: bool
    stop_token_ids: list[int]
    logprobs: int | None
    detokenize: bool
    output_kind: str
    extra_args: dict[str, Any] | None

    def __post_init__(self) -> None:
        assert self.temperature >= 0
        assert self.max_tokens >= 1
        assert (self.detokenize, self.ignore_eos, self.output_kind) == (False, True, DELTA)


def tokens_input(prompt_token_ids: list[int]) -> dict[str, Any]:
    return {"type": "token", "prompt_token_ids": prompt_token_ids}


def embeds_input(prompt_embeds: Tensor, *, prompt_token_ids: list[int], is_token_ids: list[bool]) -> dict[str, Any]:
    assert len(prompt_token_ids) == len(is_token_ids)
    return {
        "type": "embeds",
        "prompt_embeds": prompt_embeds,
        "prompt_token_ids": prompt_token_ids,
        "is_token_ids": is_token_ids,
    }


@dataclass(eq=False)
class Request:
    name: str
    rank: int
    prompt: dict[str, Any]
    params: FakeSamplingParams
    row: VllmRow | None
    output: list[int]
    fresh: list[tuple[int, dict[int, Any]]] = field(default_factory=list)
    finish: str | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)


class FakeAsyncLLM:
    """Computes every request's whole sequence at each step."""

    def __init__(self, llm: Llama, arguments: Mapping[str, Any], seen: VllmStats) -> None:
        asyncio.get_running_loop()  # it is made where its loop runs
        assert arguments["logits_processors"] == [PROCESSOR]
        assert arguments["enable_prompt_embeds"]
        assert not arguments["enable_lora"]
        self.arguments = arguments
        self.errored = False
        self.model_config = SimpleNamespace(dtype=torch.float32, max_model_len=arguments["max_model_len"])
        self.aborted: list[str] = []
        self.held = False  # a test lets requests wait
        self._llm, self._seen = llm, seen
        self._grammars = GrammarCompiler(load_tokenizer(Path(arguments["tokenizer"])))
        seen.config = SimpleNamespace(cache_config=SimpleNamespace(num_gpu_blocks=BLOCKS))
        self._requests: list[Request] = []
        self._steps_made = 0
        self._stepping: asyncio.Task[None] | None = None

    async def generate(
        self, prompt: dict[str, Any], sampling_params: FakeSamplingParams, request_id: str, *, priority: int = 0
    ) -> AsyncIterator[Any]:
        if self.errored:
            raise EngineDeadError
        await asyncio.sleep(0)  # it is handed over
        output: list[int] = []
        row = self._row(sampling_params, prompt, output)
        request = Request(request_id, priority, prompt, sampling_params, row, output)
        self._requests.append(request)
        if self._stepping is None:
            self._stepping = asyncio.create_task(self._steps())
        try:
            finished = False
            while not finished:
                await request.news.wait()
                request.news.clear()
                if self.errored:
                    raise EngineDeadError
                finished = request.finish is not None
                yield _delta(request, finished)
        except (asyncio.CancelledError, GeneratorExit):
            await self.abort(request_id)
            raise

    async def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)
        for request in [request for request in self._requests if request.name == request_id]:
            self._end(request, "abort")

    def shutdown(self) -> None:
        self.errored = True

    def die(self) -> None:
        """As when its process is killed: every waiting call raises."""
        self.errored = True
        for request in self._requests:
            request.news.set()

    def fail(self, name: str) -> None:
        """As when one request is given up inside."""
        self._end(next(request for request in self._requests if request.name.startswith(name)), "error")

    async def _steps(self) -> None:
        turn = 0
        while not self.errored:
            turn += 1
            if turn % 3:  # two steps of three before a reader comes to read
                await asyncio.sleep(0.0005)
            try:
                self._step()
            except Exception:  # noqa: BLE001  whatever ends the real engine's process
                self.die()

    def _step(self) -> None:
        if self.held:
            return
        batch = sorted(self._requests, key=lambda request: request.rank)[: self.arguments["max_num_seqs"]]
        if not batch:
            return
        logits = torch.stack([self._logits(request) for request in batch])
        logprobs = logits.log_softmax(dim=-1)
        self._steps_made += 1
        put_out = 0
        if self._steps_made % 7 == 0:  # as when blocks are short: the youngest comes back with what it had said
            put_out, last = 1, batch[-1]
            last.row = self._row(last.params, last.prompt, last.output)
        waiting = len(self._requests) - len(batch)
        rows = {at: request.row for at, request in enumerate(batch) if request.row is not None}
        for at, token in enumerate(keep_chosen(logits, rows).argmax(dim=-1).tolist()):
            self._give(batch[at], token, logprobs[at])
        prefix = SimpleNamespace(queries=4, hits=1)
        stats = SimpleNamespace(
            kv_cache_usage=len(batch) / BLOCKS,
            num_waiting_reqs=waiting,
            prefix_cache_stats=prefix,
        )
        self._seen.record(stats, SimpleNamespace(num_preempted_reqs=put_out))

    def _row(self, params: FakeSamplingParams, prompt: dict[str, Any], output: list[int]) -> VllmRow | None:
        """As vLLM's process builds it: from values that were bytes in between."""
        sent = replace(params, extra_args=msgspec.msgpack.decode(msgspec.msgpack.encode(params.extra_args)))
        return row_of(sent, prompt["prompt_token_ids"], output, self._llm.config.vocab, self._grammars)

    @torch.inference_mode()
    def _logits(self, request: Request) -> Tensor:
        embeds = self._llm.embed([*request.prompt["prompt_token_ids"], *request.output])
        if request.prompt["type"] == "embeds":
            rows = request.prompt["prompt_embeds"]
            assert rows.shape == embeds[: len(rows)].shape, "the copy into the batch fails for all"
            assert rows.isfinite().all(), "the key-value cache is spoilt for all"
            given = ~torch.tensor(request.prompt["is_token_ids"])
            embeds[: len(rows)][given] = rows[given]
        out: Tensor = self._llm(embeds[None])[0, -1]
        return out.clone()

    def _give(self, request: Request, token: int, logprobs: Tensor) -> None:
        request.output.append(token)
        request.fresh.append((token, _report(token, logprobs, request.params.logprobs)))
        request.news.set()
        if token in request.params.stop_token_ids:
            self._end(request, "stop")
        elif len(request.output) >= request.params.max_tokens:
            self._end(request, "length")

    def _end(self, request: Request, reason: str) -> None:
        self._requests.remove(request)
        request.finish = reason
        request.news.set()


def _delta(request: Request, finished: bool) -> Any:
    fresh, request.fresh = request.fresh, []
    made = SimpleNamespace(
        token_ids=[token for token, _ in fresh],
        logprobs=None if request.params.logprobs is None else [report for _, report in fresh],
        finish_reason=request.finish,
    )
    return SimpleNamespace(outputs=[made], finished=finished)


def _report(token: int, logprobs: Tensor, count: int | None) -> dict[int, Any]:
    """The chosen one first, then the likeliest, as vLLM orders them; an id stands once."""
    if count is None:
        return {}
    likeliest = logprobs.topk(count).indices.tolist() if count else []
    ranks = logprobs.argsort(descending=True).tolist()
    return {
        other: SimpleNamespace(logprob=float(logprobs[other]), rank=ranks.index(other) + 1)
        for other in [token, *likeliest]
    }


def fake_calls(llm: Llama, started: list[FakeAsyncLLM] | None = None) -> Calls:
    """Calls of vLLM for the engine. `started` receives the engine that was made."""

    def start(arguments: Mapping[str, Any], seen: VllmStats) -> FakeAsyncLLM:
        fake = FakeAsyncLLM(llm, arguments, seen)
        if started is not None:
            started.append(fake)
        return fake

    return Calls(start, FakeSamplingParams, DELTA, embeds_input, tokens_input)
