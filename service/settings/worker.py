"""The worker's settings: the model, the device, the engine and how much at once."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from service.settings.section import (
    Count,
    CountOrNone,
    NonEmpty,
    Port,
    Seconds,
    SecondsOrNone,
    Section,
)

# By the engine: settings that it has no use for, which would mislead if they were ignored in silence.
UNFIT = {
    "own": ("vllm_options",),
    "vllm": ("cache_tokens", "reserve", "prefix_tokens", "batch_turn", "batch_share", "runner", "speculative_tokens"),
}


class WorkerSettings(Section):
    """The model side: the model, its device, and the number of requests at once."""

    model: Path = Field(default=Path("models/panda-mini"), description="model folder")
    name: NonEmpty | None = Field(
        default=None, description="the worker's name. Unset: host, process id and a random part"
    )
    device: NonEmpty = Field(default="auto", description="torch device; auto: cuda where there is one, else cpu")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"] = Field(
        default="auto",
        description="arithmetic of the language model; auto: bfloat16 on cuda, on a cpu the fastest by a measurement "
        "at load that stays within 0.02 nats a token of float32, with vllm its own choice. float32 answers but for "
        "rare near ties word for word alike after a takeover, beside other requests and on other processors. int8: "
        "cpu, and cuda from compute capability 7.5 on; float8: cuda from 8.9 on. Encoders are float32, with "
        "products in bfloat16 where that pays, unless float32 is named or vllm computes",
    )
    runner: Literal["auto", "torch", "openvino"] = Field(
        default="auto",
        description="what computes the language model's steps; openvino: a graph compiled for this processor, cpu "
        "only, with the dtypes float32, bfloat16 and int8; auto: openvino on a cpu where it is installed, is faster "
        "than torch and says the same in a trial at load, else torch. Encoder towers of one shape are tried by "
        "themselves unless torch is named",
    )
    threads: CountOrNone = Field(default=0, description="threads of torch and of openvino; 0: torch's choice (threads)")
    max_sequences: Count = Field(default=32, description="sequences that generate at once (sequences)")
    cache_tokens: CountOrNone = Field(
        default=0, description="room of the key-value cache; 0: by the device's memory (tokens)"
    )
    step_tokens: Count = Field(
        default=512,
        description="most prompt tokens of one engine step; longer prompts are read in parts, between which others go "
        "on (tokens)",
    )
    max_model_len: CountOrNone = Field(default=0, description="context length; 0: the model's own (tokens)")
    reserve: Literal["longest", "current"] = Field(
        default="longest",
        description="the cache that a sequence is admitted for: the longest it may become, so that none is preempted "
        "for want of cache, or its current length, so that more run at once and the youngest is preempted and computed "
        "again when the cache is full",
    )
    prefix_tokens: CountOrNone | None = Field(
        default=None,
        description="room for prefixes kept for later prompts; 0: none; unset: an eighth of the cache (tokens)",
    )
    batch_turn: Count = Field(
        default=8,
        description="interactive sequences admitted in a row while batch ones wait, before one of those (sequences)",
    )
    batch_share: Count = Field(
        default=8,
        description="one part in so many of a step's prompt tokens is kept for batch prompts being read (parts)",
    )
    speculative_tokens: CountOrNone = Field(
        default=7,
        description="most tokens that are drafted for a sequence in a step, from what followed its last tokens when "
        "they stood in it before, or by the model folder's table of n-grams; as many as are likely to save time, on a "
        "cpu. They change no answer. 0: none (tokens)",
    )
    engine: Literal["own", "vllm"] = Field(
        default="own",
        description="what computes the language model; vllm: docs/guides/vllm.md, and cache_tokens, reserve, "
        "prefix_tokens, batch_turn, batch_share, runner and speculative_tokens do not apply",
    )
    vllm_options: dict[str, Any] = Field(
        default={},
        description="further arguments of vLLM's engine by their names there, a JSON object "
        '({"tensor_parallel_size": 4})',
    )
    vllm_cache: Path = Field(
        default=Path(".state/merged"),
        description="folder of language models with their LoRA merged in, as vLLM reads them; made when first needed",
    )
    cache: Path | None = Field(
        default=None,
        description="folder of what was chosen and measured at load, and of the towers' graphs; unset: nothing is "
        "kept, but `pandagpt serve` names one in its state folder",
    )
    speech: Path | None = Field(
        default=None,
        description="folder of a recogniser of speech; needs pandagpt[speech]. `pandagpt serve` takes the name "
        "whisper-base too, which it fetches. Unset: nothing is written down",
    )
    speech_tokens: CountOrNone = Field(
        default=256,
        description="most of what is said in a sound that a prompt in a chat holds; 0: nothing, and sounds are written "
        "down for /v1/audio alone (tokens)",
    )
    speech_seconds: Seconds = Field(
        default=120.0, description="how much of a sound is written down for a chat, from its start (seconds)"
    )
    encode_batch: Count = Field(default=16, description="media of one modality encoded at once (media)")
    encode_limit_s: Seconds = Field(
        default=300.0,
        description="longest that one batch of media may be encoded for; then the encoder counts as hung: the worker "
        "leaves and others take its requests over (seconds)",
    )
    prefetch: CountOrNone = Field(default=8, description="requests taken from the queue beyond what runs (requests)")
    heartbeat_s: Seconds = Field(default=2.0, description="interval of the worker's signs of life (seconds)")
    lost_after_s: Seconds = Field(
        default=10.0, description="silence after which others take over its requests (seconds)"
    )
    drain_grace_s: SecondsOrNone = Field(
        default=30.0, description="how long running requests may end after SIGTERM (seconds)"
    )
    metrics_host: NonEmpty = Field(default="127.0.0.1", description="address of the worker's /metrics")
    metrics_port: Port = Field(default=0, description="port of the worker's /metrics; 0: none (port)")

    @model_validator(mode="after")
    def _fits_its_engine(self) -> Self:
        fields = type(self).model_fields
        unfit = [name for name in UNFIT[self.engine] if getattr(self, name) != fields[name].default]
        if unfit:
            raise ValueError(f"{', '.join(unfit)} cannot be set with engine {self.engine}")
        return self

    @model_validator(mode="after")
    def _beats_more_than_once(self) -> Self:
        if self.lost_after_s < 2 * self.heartbeat_s:
            raise ValueError(
                f"lost_after_s is {self.lost_after_s:g}: it must be at least twice heartbeat_s ({self.heartbeat_s:g})"
            )
        return self
