"""Prompts without a conversation: text or token ids that the language model continues as they stand.

No template is written around them, so they may hold control tokens: by their ids, never by their names in a text.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from pandagpt_core.errors import ContextLengthExceeded, InvalidRequest
from pandagpt_core.interface import PlainPrompt, PromptToken
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.language_model import ChunkedForward
from pandagpt_core.systems.base import System
from pandagpt_core.systems.checks import CHARACTERS_A_TOKEN
from pandagpt_core.types import Conversation

# Positions whose log probabilities are computed at a time: bounds the memory of [rows, V], and for how long the other
# requests of a worker wait.
ROWS = 64
_LEAST = -1e4  # in place of minus infinity, which JSON lacks


def plain_ids(system: System, prompt: PlainPrompt, special: bool = True) -> list[int]:
    """The prompt's token ids; with `special`, text begins with the tokenizer's own beginning, where it has one.

    Raises ContextLengthExceeded for text that cannot fit, before it is tokenised, and InvalidRequest for an id beyond
    the vocabulary.
    """
    if not isinstance(prompt, str):
        return _known(prompt, system.llm.config.vocab)
    context = system.info.max_model_len
    if len(prompt) > context * CHARACTERS_A_TOKEN:
        raise ContextLengthExceeded(f"the prompt has {len(prompt)} characters, the context holds {context} tokens")
    bos_id = system.tokenizer.bos_id if special else None
    return [*([] if bos_id is None else [bos_id]), *system.tokenizer.encode(prompt)]


def plain_inputs(system: System, ids: Sequence[int]) -> LLMInputs:
    """Raises InvalidRequest for a prompt without a token."""
    if not ids:
        raise InvalidRequest("the prompt is empty", param="prompt")
    return LLMInputs(system.llm.embed(list(ids)), tuple(ids))


def conversation_ids(system: System, conversation: Conversation) -> list[int]:
    """The token ids of a conversation without media, in the template's words. Raises ContextLengthExceeded."""
    return list(system.prepare(conversation, []).ids)


def prompt_tokens(system: System, ids: Sequence[int], top: int | None) -> Iterator[list[PromptToken]]:
    """The prompt's tokens in their order; with `top`, each one's log probability after those before it, and so many
    alternatives.

    Log probabilities are computed outside of any batch, at most `ROWS` positions for each list that is drawn. Raises
    ContextLengthExceeded.
    """
    bytes_of = system.tokenizer.token_bytes
    if top is None or len(ids) < 2:
        yield [PromptToken(token, bytes_of(token, first=index == 0)) for index, token in enumerate(ids)]
        return
    context = system.info.max_model_len
    if len(ids) >= context:
        raise ContextLengthExceeded(f"the context is {context} tokens; the prompt alone has {len(ids)}")
    yield [PromptToken(ids[0], bytes_of(ids[0], first=True))]
    forward = system.llm.chunked(len(ids) - 1)
    for start in range(0, len(ids) - 1, ROWS):
        yield _scored(system, forward, ids[start : start + ROWS + 1], top)


@torch.inference_mode()
def _scored(system: System, forward: ChunkedForward, ids: Sequence[int], top: int) -> list[PromptToken]:
    """All of the ids but the first, each with its log probability after those before it."""
    bytes_of = system.tokenizer.token_bytes
    logprobs = torch.log_softmax(forward(system.llm.embed(list(ids[:-1]))), dim=-1)  # [N, V]
    chosen = logprobs.gather(1, torch.tensor(ids[1:], device=logprobs.device)[:, None])[:, 0].tolist()
    values, best = logprobs.topk(min(top, logprobs.shape[-1]), dim=-1)
    return [
        PromptToken(token, bytes_of(token), value if math.isfinite(value) else _LEAST, _likeliest(bytes_of, *ranked))
        for token, value, *ranked in zip(ids[1:], chosen, best.tolist(), values.tolist(), strict=True)
    ]


def _likeliest(
    bytes_of: Callable[[int], bytes], ids: Sequence[int], values: Sequence[float]
) -> tuple[tuple[int, bytes, float], ...]:
    return tuple((one, bytes_of(one), value) for one, value in zip(ids, values, strict=True))


def _known(ids: Sequence[int], vocabulary: int) -> list[int]:
    unknown = next((token_id for token_id in ids if not 0 <= token_id < vocabulary), None)
    if unknown is not None:
        raise InvalidRequest(f"the token id {unknown} is outside of the vocabulary of {vocabulary}", param="prompt")
    return list(ids)
