"""The used parts of vLLM, and its start. Its names are looked up when it starts, never before."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

VERIFIED = "0.32."  # the versions that the calls below were run against
PROCESSOR = "pandagpt_core.engine.vllm.processor:SeededSampling"
# Values that the adapter fixes: another value would break a promise of the engine.
FIXED: Mapping[str, Any] = MappingProxyType(
    {
        "enable_prompt_embeds": True,
        "skip_tokenizer_init": True,  # text is made here
        "generation_config": "vllm",  # no defaults out of the model's folder
        "scheduling_policy": "priority",
        "logits_processors": [PROCESSOR],
        "enable_lora": False,  # with prompt embeddings it ends the engine; the weights hold it
        "stream_interval": 1,
    }
)
# Arguments that have settings of their own, or follow from the model's folder. Only the logits processor reads
# `tokenizer`.
NAMED = ("model", "tokenizer", "dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens")
ENVIRONMENT = {
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # its logits processors are of another kind
    "VLLM_NO_USAGE_STATS": "1",  # nothing is sent to anybody
}


@dataclass(slots=True)
class VllmStats:
    """vLLM's own figures, as its engine reports them: its stat logger's interface, without its base class."""

    kv_used: float = 0.0
    kv_blocks: int = 0
    waiting: int = 0
    num_preemptions: int = 0
    queries: int = 0
    hits: int = 0
    config: Any = field(default=None, repr=False)

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Take one step's figures; those of the prefix cache and of preemptions are differences."""
        del mm_cache_stats, engine_idx
        if scheduler_stats is not None:
            self.kv_used, self.waiting = scheduler_stats.kv_cache_usage, scheduler_stats.num_waiting_reqs
            self.queries += scheduler_stats.prefix_cache_stats.queries
            self.hits += scheduler_stats.prefix_cache_stats.hits
            self.kv_blocks = self.config.cache_config.num_gpu_blocks or 0
        if iteration_stats is not None:
            self.num_preemptions += iteration_stats.num_preempted_reqs

    def log(self) -> None:
        """Nothing: the worker's metrics report it."""

    def log_engine_initialized(self) -> None:
        """Nothing."""

    def record_sleep_state(self, *_: Any) -> None:
        """Nothing: it never sleeps."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Names of vLLM, so that a stand-in can take their place in tests."""

    start: Callable[[Mapping[str, Any], VllmStats], Any]
    """Engine arguments to an AsyncLLM that has come up, reporting its figures."""
    sampling_params: Callable[..., Any]
    delta: Any
    embeds_input: Callable[..., Any]
    tokens_input: Callable[..., Any]


def real_calls() -> Calls:
    """The installed vLLM's. Raises ValueError where there is none, or another than was verified."""
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    try:
        import vllm  # an extra
        from vllm.inputs.engine import embeds_input, tokens_input
        from vllm.sampling_params import RequestOutputKind
    except ImportError as error:
        raise ValueError(f"vLLM cannot be imported ({error}): pip install -e '.[vllm]'") from None
    if not vllm.__version__.startswith(VERIFIED):
        raise ValueError(f"the engine needs vLLM {VERIFIED}x, the one installed is {vllm.__version__}")
    return Calls(_start, vllm.SamplingParams, RequestOutputKind.DELTA, embeds_input, tokens_input)


def engine_arguments(named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of vLLM's engine. Raises ValueError for an option that is decided elsewhere."""
    taken = sorted({*FIXED, *NAMED} & options.keys())
    if taken:
        raise ValueError(f"vllm_options may not hold {', '.join(taken)}: other settings or the service decide that")
    return {**options, **named, **FIXED}


def _start(arguments: Mapping[str, Any], seen: VllmStats) -> Any:
    from vllm import AsyncEngineArgs  # an extra
    from vllm.v1.engine.async_llm import AsyncLLM

    def logger(config: Any, _engine: int) -> VllmStats:
        seen.config = config
        return seen

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=[logger])
