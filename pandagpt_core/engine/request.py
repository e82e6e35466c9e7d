"""A sequence as an engine takes it, and the checks before it may share a batch with others."""

import hashlib
from collections.abc import Sequence as Items
from dataclasses import dataclass

from torch import Tensor

from pandagpt_core.engine.constraints import GrammarCompiler, constraints_of
from pandagpt_core.engine.penalties import History, penalises
from pandagpt_core.engine.sequence import AnswerText, CacheSalt, Sequence
from pandagpt_core.errors import ContextLengthExceeded, EngineError, InvalidRequest
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.types import Priority, SamplingParams


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A prompt and how to answer it.

    resume: tokens that an earlier attempt published. They are read as a prefix and not given out again, and the next
    tokens are those that would have followed.
    tenant: whose prefixes it shares, "" for everyone's. The first `num_public` positions are shared with all tenants.
    """

    id: str
    inputs: LLMInputs
    params: SamplingParams
    resume: Items[int] = ()
    priority: Priority = "interactive"
    tenant: str = ""
    num_public: int = 0


def check_request(request: EngineRequest, config: LlamaConfig, context: int) -> None:
    """Raises EngineError for a prompt that would break the batch, ContextLengthExceeded for one too long, and
    InvalidRequest for a biased token that the model does not have."""
    inputs = request.inputs
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
    beyond = next((token_id for token_id, _ in request.params.logit_bias if token_id >= config.vocab), None)
    if beyond is not None:
        raise InvalidRequest(
            f"logit_bias names the token {beyond}; this model has tokens 0 to {config.vocab - 1}", param="logit_bias"
        )
    if not all(0 <= token_id < config.vocab for token_id in request.resume):
        raise EngineError(f"a resumed token is outside of the vocabulary of {config.vocab}")
    if length + 1 > context:
        raise ContextLengthExceeded.of(context, f"the prompt alone has {length} tokens")


def make_sequence(
    request: EngineRequest, tokenizer: Tokenizer, vocab: int, context: int, grammars: GrammarCompiler
) -> Sequence:
    """The sequence before its first token. An answer that the context cannot hold ends at the context's end."""
    inputs, params = request.inputs, request.params
    # A grammar that can go no further ends the answer all the same.
    eos_ids = frozenset() if params.ignore_eos and params.grammar is None else tokenizer.eos_ids
    ends = eos_ids.union(params.stop_token_ids)
    counted = inputs.ids if inputs.penalised is None else inputs.penalised
    return Sequence(
        id=request.id,
        inputs=inputs,
        params=params,
        text=AnswerText(tokenizer.detokenizer(), params.stop),
        max_tokens=min(params.max_tokens, context - len(inputs.ids)),
        stop_token_ids=ends,
        history=History(vocab, _penalised_ids(counted, params, ends)) if penalises(params) else None,
        constraints=constraints_of(params, ends, grammars),
        priority=request.priority,
        cache_salt=CacheSalt(bias_digest(inputs.layer_bias), request.tenant, request.num_public),
    )


def _penalised_ids(ids: Items[int], params: SamplingParams, ends: frozenset[int]) -> Items[int]:
    """A prompt's ids that a repetition penalty counts. Below 1 it is a reward, which must not end the answer at
    once."""
    return [token_id for token_id in ids if token_id not in ends] if params.repetition_penalty < 1 else ids


def bias_digest(bias: Tensor | None) -> bytes:
    """A digest of the layer bias, empty without one: under another bias equal ids have other keys and values."""
    return b"" if bias is None else hashlib.sha256(bias.float().cpu().contiguous().numpy().tobytes()).digest()
