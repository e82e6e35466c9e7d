"""The model of a worker: a model system and an engine joined. Embeddings cross this border as numpy arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from pandagpt_core.autotune import Listen, ignore
from pandagpt_core.encoders.streams import Beside, beside, here
from pandagpt_core.engine.base import TokenEngine
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.vllm.calls import Calls, engine_arguments, real_calls
from pandagpt_core.engine.vllm.engine import VllmEngine
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.interface import Admitted, EngineStats, PlainPrompt, PromptToken, SequenceRequest
from pandagpt_core.llm.autotune import RunnerName
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.precision import PrecisionChoice
from pandagpt_core.llm.quant.fp8 import fp8_runs
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.systems import LoadOptions, System, load_system, plain
from pandagpt_core.systems.contributions import check_explainable, contributions
from pandagpt_core.systems.merged import merged_folder, tokenizer_files
from pandagpt_core.types import (
    NOTHING_FOUND,
    Conversation,
    Fields,
    Found,
    Modality,
    ModelInfo,
    SamplingParams,
    TokenOutput,
    Turn,
)

__all__ = ["Dtype", "EngineConfig", "Runtime", "SequenceRequest", "VllmOptions"]

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"]
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "float8": "fp8"}
)
CLIPS_AT_ONCE = 32  # a tower's batch: bounds the memory of activations (a video is 15 clips)
CACHE_SHARE = 0.8  # of the accelerator memory that is free after loading; the rest is for activations


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """vLLM in place of our engine. cache: where language models lie with their LoRA merged in. arguments: of vLLM's
    engine, beyond those that `Runtime.load` has names for. calls: the installed vLLM's where none are given."""

    cache: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: Calls | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of a request's prompt, kept until the next step: its other choices begin with the same ones."""

    request: SequenceRequest
    inputs: LLMInputs

    def is_of(self, request: SequenceRequest) -> bool:
        """Whether the request holds the very same prompt, by identity."""
        own = self.request
        same_media = own.conversation is request.conversation and own.embeddings is request.embeddings
        return same_media and own.prompt is request.prompt


class Runtime:
    """One loop admits, steps and aborts. `encode` and `unit` change nothing: other threads may call them meanwhile,
    and `encode` keeps to streams of its own on a device that has streams."""

    def __init__(self, system: System, engine: TokenEngine, beside: Beside = here) -> None:
        self._system = system
        self._engine = engine
        self._beside = beside
        self._prepared: Prepared | None = None
        self._template = _template_ids(system)
        self.info: ModelInfo = _within(system.info, engine.context)
        # Of the language model's products; another engine than ours decides it by itself.
        own = isinstance(engine, Engine)
        self.precision: Precision | None = system.llm.precision if own else None
        self.runner: RunnerName | None = system.llm.backend if own else None

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: Dtype = "auto",
        runner: RunnerName = "auto",
        max_sequences: int = 32,
        cache_tokens: int = 0,
        step_tokens: int = 512,
        max_model_len: int = 0,
        original_stop: bool = False,
        verify: bool = True,
        engine: EngineConfig | None = None,
        vllm: VllmOptions | None = None,
        report: Listen = ignore,
        cache: Path | None = None,
    ) -> "Runtime":
        """Load a model folder and make room for its sequences; 0 leaves a size to the model and the device.

        device: a torch device, or "auto": CUDA where there is one. dtype "auto" is bfloat16 on an accelerator; on a CPU
        the fastest whose answers stay within a margin (`llm.autotune`). runner: torch or OpenVINO for our engine's
        steps; "auto" measures both on a CPU (`llm.autotune`). original_stop: end answers by the published system's stop
        rule. verify: check every file's digest first. engine: the other options of our engine (prefixes kept, reserve,
        turns); the sizes named here win. vllm: compute the language model with vLLM instead, by its own rules of memory
        and turns. report: called with each choice made by measurement, and its figures. cache: a folder for results
        that the next load uses again. Raises CheckpointError and its kinds (DigestMismatch, KeyMismatch); ValueError
        for a vLLM that is not installed or an argument that is not its own.
        """
        device = pick_device(device)
        calls = None if vllm is None else _calls(vllm, dtype)  # first: the rest may take minutes
        table = None if vllm is None else merged_folder(folder, vllm.cache, verify)
        precision = "fp32" if vllm else pick_precision(dtype, device)
        options = LoadOptions(device, precision, original_stop, verify, runner, table, report, cache)
        system = load_system(folder, options)
        config = replace(
            engine or EngineConfig(),
            max_running=max_sequences,
            prefill_chunk=step_tokens,
            max_model_len=min(max_model_len or system.info.max_model_len, system.info.max_model_len),
        )
        if vllm is not None:
            assert table is not None
            assert calls is not None
            arguments = engine_arguments(_vllm_sizes(table, tokenizer_files(folder), config, dtype), vllm.arguments)
            return cls(system, VllmEngine(arguments, calls, system.tokenizer, system.llm.config), beside(device))
        made = Engine(system.llm, system.tokenizer, _with_cache(config, cache_tokens, device))
        return cls(system, made, beside(device))

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Recipe arrays of one modality in, [n, E] float32 or float16 for each out. Raises UnsupportedModality."""
        embeddings: list[np.ndarray] = []
        with self._beside(modality):
            for batch in batches(arrays, CLIPS_AT_ONCE):
                embeddings += [rows.copy() for rows in self._system.encode(modality, batch).cpu().numpy()]
        return embeddings

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        """An embedding [n, E] as the unit vector [E] float32 that /v1/embeddings answers."""
        unit: np.ndarray = self._system.unit(modality, _tensor(embedding)).numpy()
        return unit

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        """Search the model's cache of pictures as admission would: None before each piece, the result last.

        Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest.
        """
        if request.prompt is not None:
            return iter((NOTHING_FOUND,))
        return self._system.look_up(request.conversation, [_tensor(embedding) for embedding in request.embeddings])

    def admit(self, request: SequenceRequest) -> Admitted:
        """Queue a sequence; its tokens come from later steps.

        Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest; then nothing was queued.
        """
        inputs, params = self._read(request)
        public = len(_common(inputs.ids, self._template))
        sequence = EngineRequest(
            request.id, inputs, params, request.resume, request.priority, request.tenant, num_public=public
        )
        admitted = self._engine.add(sequence)
        return replace(admitted, fields=inputs.fields)

    def _read(self, request: SequenceRequest) -> tuple[LLMInputs, SamplingParams]:
        """The prompt; a plain one ends where the tokenizer's files or the caller set it, not where a template does."""
        prepared = self._prepared
        if prepared is None or not prepared.is_of(request):
            self._prepared = prepared = Prepared(request, self._inputs(request))
        params = request.params if request.prompt is not None else self._system.stops(request.params)
        return prepared.inputs, params

    def _inputs(self, request: SequenceRequest) -> LLMInputs:
        if request.prompt is not None:
            return plain.plain_inputs(self._system, plain.plain_ids(self._system, request.prompt))
        rows = [_tensor(embedding) for embedding in request.embeddings]
        return self._system.prepare(request.conversation, rows, request.found)

    def tokenize(self, prompt: PlainPrompt | Conversation, special: bool = True) -> list[int]:
        """The token ids that the language model reads of a prompt; `special`: with the beginning that text gets.

        Raises ContextLengthExceeded, InvalidRequest.
        """
        if isinstance(prompt, Conversation):
            return plain.conversation_ids(self._system, prompt)
        return plain.plain_ids(self._system, prompt, special)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none. Raises InvalidRequest for an id beyond the vocabulary."""
        return self._system.tokenizer.decode(plain.plain_ids(self._system, ids))

    def prompt_tokens(self, prompt: PlainPrompt, top: int | None) -> Iterator[Sequence[PromptToken]]:
        """A prompt's tokens in lists, with `top` their log probabilities and so many alternatives.

        Each list is computed as it is drawn, and holds so few tokens that others may be served between.
        Raises ContextLengthExceeded, InvalidRequest, the second too where another engine holds the language model.
        """
        if top is not None and not isinstance(self._engine, Engine):
            raise InvalidRequest("this engine gives no log probabilities of a prompt", param="logprobs")
        return plain.prompt_tokens(self._system, plain.plain_ids(self._system, prompt), top)

    def check_explains(self, request: SequenceRequest) -> None:
        """Raises InvalidRequest where another engine holds the language model, or the model's media stand in no place
        of its prompt; and all that reading the prompt may raise."""
        if not isinstance(self._engine, Engine):
            raise InvalidRequest("this engine gives no log probabilities of an answer", param="explain")
        inputs, _ = self._read(request)
        check_explainable(inputs)

    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        """None after each piece of the computing, and the fields `contributions` last (`systems.contributions`)."""
        rows = [_tensor(embedding) for embedding in request.embeddings]
        return contributions(self._system, request.conversation, rows, answer, request.found)

    def parse(self, text: str) -> Fields | None:
        """The structured fields of a whole answer; None for a system whose answers are plain text."""
        return self._system.parse(text)

    def step(self) -> list[TokenOutput]:
        """One engine step over the whole batch."""
        self._prepared = None
        return self._engine.step()

    def abort(self, sequence_id: str) -> None:
        """Forget a sequence; no output follows. An unknown id is no error."""
        self._engine.abort(sequence_id)

    @property
    def has_work(self) -> bool:
        return self._engine.has_work

    def stats(self) -> EngineStats:
        return self._engine.stats()

    def close(self) -> None:
        """Free what the engine holds beyond memory: another engine's processes."""
        self._engine.close()


def pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str, dtype: Dtype) -> None:
    """Raises ValueError for a device that is not here, or arithmetic that it does not have."""
    picked = pick_device(device)
    try:
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError):  # the second from a build of torch that lacks the whole kind
        raise ValueError(f"torch finds no device {device} on this machine") from None
    pick_precision(dtype, picked)


def pick_precision(dtype: Dtype, device: str) -> PrecisionChoice:
    """The precision to load. Raises ValueError for int8 and float8 where the device does not have it."""
    if dtype == "auto":
        return "auto"
    if dtype == "int8" and not int8_runs(device):
        raise ValueError(
            f"dtype int8 needs an x86 processor or a CUDA device of compute capability 7.5 or more, it is {device}"
        )
    if dtype == "float8" and (device == "cpu" or not fp8_runs(device)):
        raise ValueError(f"dtype float8 needs a CUDA device of compute capability 8.9 or more, it is {device}")
    return PRECISIONS[dtype]


def batches(arrays: Sequence[np.ndarray], clips: int) -> Iterator[Sequence[np.ndarray]]:
    """Runs of neighbours with at most so many clips together; an item is never split, however many it has."""
    start, held = 0, 0
    for index, array in enumerate(arrays):
        if index > start and held + len(array) > clips:
            yield arrays[start:index]
            start, held = index, 0
        held += len(array)
    if start < len(arrays):
        yield arrays[start:]


def _calls(vllm: VllmOptions, dtype: Dtype) -> Calls:
    """Raises ValueError for errors found before anything is loaded."""
    if dtype in ("int8", "float8"):
        raise ValueError(f"the engine vllm has no dtype {dtype}: name a quantization in vllm_options")
    engine_arguments({}, vllm.arguments)
    return vllm.calls or real_calls()


def _vllm_sizes(model: Path, tokenizer: Path, config: EngineConfig, dtype: Dtype) -> dict[str, Any]:
    """Our sizes by vLLM's names. With dtype "auto" it chooses."""
    return {
        "model": str(model),
        "tokenizer": str(tokenizer),
        "dtype": dtype,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_running,
        "max_num_batched_tokens": max(config.prefill_chunk, config.max_running),
    }


def _with_cache(config: EngineConfig, cache_tokens: int, device: str) -> EngineConfig:
    """Without a size given: on a CPU every sequence may fill the context, on CUDA what the free memory holds."""
    if cache_tokens:
        return replace(config, kv_blocks=-(-cache_tokens // config.block_size))
    if not device.startswith("cuda"):
        return config
    torch.cuda.empty_cache()  # memory that loading took and gave back, which torch would keep for later, counts as free
    free, _ = torch.cuda.mem_get_info(device)
    return replace(config, kv_bytes=int(free * CACHE_SHARE))


def _within(info: ModelInfo, context: int) -> ModelInfo:
    """The engine's cache may hold less than the model's context."""
    return replace(info, max_model_len=min(info.max_model_len, context))


def _tensor(embedding: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.asarray(embedding, dtype=np.float32))  # a copy: cached ones are read-only views of bytes


def _template_ids(system: System) -> tuple[int, ...]:
    """The ids with which prompts of any caller begin: the common start of two prompts of different words."""
    first, second = (system.prepare(Conversation((Turn("user", text),)), []).ids for text in ("a", "0"))
    return _common(first, second)


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return tuple(token for token, _ in pairs)
