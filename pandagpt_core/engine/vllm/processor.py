"""The logits processor that vLLM's processes load by name. The one file here that imports vLLM at its head."""

from pathlib import Path
from typing import Any

from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, process_dict_updates

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.vllm.sampling import VllmRow, keep_chosen, row_of
from pandagpt_core.llm.tokenizers.base import load_tokenizer


class SeededSampling(LogitsProcessor):  # type: ignore[misc]  # types are checked without vLLM
    """Rows by their place in the batch, kept as vLLM moves them."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:  # noqa: ARG002  vLLM's signature
        self._vocab: int = vllm_config.model_config.get_vocab_size()
        self._grammars = GrammarCompiler(load_tokenizer(Path(vllm_config.model_config.tokenizer)))
        self._rows: dict[int, VllmRow] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, self._row)

    def _row(self, params: Any, prompt: list[int] | None, output: list[int]) -> VllmRow | None:
        return row_of(params, prompt, output, self._vocab, self._grammars)

    def apply(self, logits: Tensor) -> Tensor:
        return keep_chosen(logits, self._rows)
