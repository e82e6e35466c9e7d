"""What is checked before a sequence may share a batch with others, and how one is made."""

import hashlib
from collections.abc import Sequence as Items

from torch import Tensor

from pandagpt_core.engine.penalties import History, penalises
from pandagpt_core.engine.sequence import AnswerText, Sequence
from pandagpt_core.errors import ContextLengthExceeded, EngineError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Priority, SamplingParams


def check_inputs(inputs: LLMInputs, resume: Items[int], config: LlamaConfig, context: int) -> None:
    """Raises EngineError for a prompt that would break the batch, ContextLengthExceeded for one too long."""
    shape, length = tuple(inputs.embeds.shape), len(inputs.ids)
    if length == 0:
        raise EngineError("the prompt is empty")
    if shape != (length, config.width):
        raise EngineError(f"the prompt's embeddings are {shape}, expected {(length, config.width)}")
    if not bool(inputs.embeds.isfinite().all()):
        raise EngineError("the prompt's embeddings are not finite")
    bias, expected = inputs.layer_bias, (config.layers, config.width)
    if bias is not None and (tuple(bias.shape) != expected or not bool(bias.isfinite().all())):
        raise EngineError(f"the layer bias must be finite and {expected}, it is {tuple(bias.shape)}")
    if not all(0 <= token_id < config.vocab for token_id in resume):
        raise EngineError(f"a resumed token is outside of the vocabulary of {config.vocab}")
    if length + 1 > context:
        raise ContextLengthExceeded(f"the context is {context} tokens; the prompt alone has {length}")


def make_sequence(
    sequence_id: str,
    inputs: LLMInputs,
    params: SamplingParams,
    priority: Priority,
    tokenizer: Tokenizer,
    vocab: int,
    context: int,
) -> Sequence:
    """The sequence before its first token. An answer that the context cannot hold ends at the context's end."""
    ends = frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else tokenizer.eos_ids)
    return Sequence(
        id=sequence_id,
        inputs=inputs,
        params=params,
        text=AnswerText(tokenizer.detokenizer(), params.stop),
        limit=min(params.max_tokens, context - len(inputs.ids)),
        ends=ends,
        history=History(vocab, inputs.ids if inputs.penalised is None else inputs.penalised)
        if penalises(params)
        else None,
        priority=priority,
        root=root(inputs.layer_bias),
    )


def root(bias: Tensor | None) -> bytes:
    """A digest of the layer bias, empty without one: under another bias equal ids have other keys and values."""
    return b"" if bias is None else hashlib.sha256(bias.float().cpu().contiguous().numpy().tobytes()).digest()
