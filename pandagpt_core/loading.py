"""Load a model folder: a system with its weights, and the engine that computes its language model's steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from pandagpt_core.autotune import Listen, ignore
from pandagpt_core.checkpoints import NGRAMS, read_model_folder, read_tensors
from pandagpt_core.encoders.streams import beside
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.speculation.ngram_table import NgramTable
from pandagpt_core.engine.vllm.calls import Calls, engine_arguments, real_calls
from pandagpt_core.engine.vllm.engine import VllmEngine
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.autotune import RunnerName
from pandagpt_core.llm.precision import PrecisionChoice
from pandagpt_core.llm.quant.fp8 import fp8_runs
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.systems.merged import merged_folder, tokenizer_files

Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"]
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "float8": "fp8"}
)
CACHE_SHARE = 0.8  # of the accelerator memory that is free after loading; the rest is for activations


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """vLLM in place of our engine. cache: where language models lie with their LoRA merged in. arguments: of vLLM's
    engine, beyond those that `RuntimeOptions` has names for. calls: the installed vLLM's where none are given."""

    cache: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    calls: Calls | None = None


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """Options of a load: device, arithmetic, sizes. A size of 0 is left to the model and the device.

    device: a torch device, or "auto": CUDA where there is one.
    dtype: "auto" is bfloat16 on an accelerator; on a CPU the fastest whose answers stay within a margin
        (`llm.autotune`).
    runner: torch or OpenVINO for our engine's steps; "auto" measures both on a CPU (`llm.autotune`).
    max_sequences, step_tokens, max_model_len, cache_tokens: sequences that run at once, prompt tokens of a step, tokens
        of prompt and answer, tokens of all running sequences. They win over those of `engine`.
    original_stop: end answers by the published system's stop rule.
    verify: check every file's digest first.
    engine: the other options of our engine (prefixes kept, reserve, turns).
    vllm: compute the language model with vLLM instead, by its own rules of memory and turns.
    cache: a folder for results that the next load uses again.
    """

    device: str = "cpu"
    dtype: Dtype = "auto"
    runner: RunnerName = "auto"
    max_sequences: int = 32
    cache_tokens: int = 0
    step_tokens: int = 512
    max_model_len: int = 0
    original_stop: bool = False
    verify: bool = True
    engine: EngineConfig = field(default_factory=EngineConfig)
    vllm: VllmOptions | None = None
    cache: Path | None = None

    def sizes(self, limit: int) -> EngineConfig:
        """The engine's options for a model whose context is `limit` tokens."""
        return replace(
            self.engine,
            max_running=self.max_sequences,
            prefill_chunk=self.step_tokens,
            max_model_len=min(self.max_model_len or limit, limit),
        )


def load_model(folder: Path, options: RuntimeOptions | None = None, report: Listen = ignore) -> Runtime:
    """Load a model folder and make room for its sequences. report: called with each choice made by measurement.

    Raises CheckpointError and its kinds (DigestMismatch, KeyMismatch); ValueError for a vLLM that is not installed or
    an argument that is not its own.
    """
    options = options or RuntimeOptions()
    device = pick_device(options.device)
    if options.vllm is not None:
        return _on_vllm(folder, options, options.vllm, device, report)
    return _on_ours(folder, options, device, report)


def _on_ours(folder: Path, options: RuntimeOptions, device: str, report: Listen) -> Runtime:
    system = load_system(folder, _of_system(options, device, pick_precision(options.dtype, device), report))
    config = _with_cache(options.sizes(system.info.max_model_len), options.cache_tokens, device)
    ngrams = read_ngrams(folder, system.llm.config.vocab)
    return Runtime(system, Engine(system.llm, system.tokenizer, config, ngrams=ngrams), beside(device))


def read_ngrams(folder: Path, vocab: int) -> NgramTable | None:
    """The model folder's table of n-grams, None where it has none. Its digest was compared with the other files'.

    Raises CheckpointError for a file that is no such table, or one of another vocabulary.
    """
    if NGRAMS not in read_model_folder(folder).files:
        return None
    try:
        return NgramTable({name: tensor.numpy() for name, tensor in read_tensors(folder / NGRAMS)}, vocab)
    except ValueError as error:
        raise CheckpointError(f"{folder.name}: {NGRAMS}: {error}") from None


def _on_vllm(folder: Path, options: RuntimeOptions, vllm: VllmOptions, device: str, report: Listen) -> Runtime:
    calls = _calls(vllm, options.dtype)  # first: the rest may take minutes
    table = merged_folder(folder, vllm.cache, options.verify)
    system = load_system(folder, replace(_of_system(options, device, "fp32", report), table=table))
    sizes = _vllm_sizes(table, tokenizer_files(folder), options.sizes(system.info.max_model_len), options.dtype)
    engine = VllmEngine(engine_arguments(sizes, vllm.arguments), calls, system.tokenizer, system.llm.config)
    return Runtime(system, engine, beside(device))


def _of_system(options: RuntimeOptions, device: str, precision: PrecisionChoice, report: Listen) -> LoadOptions:
    return LoadOptions(
        device, precision, options.original_stop, options.verify, options.runner, report=report, cache=options.cache
    )


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
