"""Prompts without a conversation: text or token ids that the language model continues as they stand.

No template is written around them, so they may hold control tokens: by their ids, never by their names in a text.
"""

import math
from collections.abc import Iterator, Sequence

import torch

from pandagpt_core.errors import ContextLengthExceeded, InvalidRequest
from pandagpt_core.interface import PlainPrompt, PromptToken
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.systems.base import System
from pandagpt_core.systems.checks import CHARACTERS_A_TOKEN
from pandagpt_core.types import Conversation

ROWS = 64  # positions whose log probabilities are computed at a time: bounds the memory of [rows, V]


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


@torch.inference_mode()
def prompt_tokens(system: System, ids: Sequence[int], top: int | None) -> list[PromptToken]:
    """The prompt's tokens; with `top`, each one's log probability after those before it, and so many alternatives.

    One forward pass of its own, outside of any batch. Raises ContextLengthExceeded.
    """
    bytes_of = system.tokenizer.token_bytes
    if top is None or len(ids) < 2:
        return [PromptToken(token, bytes_of(token, first=index == 0)) for index, token in enumerate(ids)]
    context = system.info.max_model_len
    if len(ids) >= context:
        raise ContextLengthExceeded(f"the context is {context} tokens; the prompt alone has {len(ids)}")
    logits = system.llm(system.llm.embed(list(ids))[None])[0]  # [T, V]
    scored = _scored(logits[:-1], ids[1:], top)
    later = [
        PromptToken(token, bytes_of(token), value, tuple((one, bytes_of(one), logprob) for one, logprob in likeliest))
        for token, (value, likeliest) in zip(ids[1:], scored, strict=True)
    ]
    return [PromptToken(ids[0], bytes_of(ids[0], first=True)), *later]


def _scored(logits: torch.Tensor, ids: Sequence[int], top: int) -> Iterator[tuple[float, list[tuple[int, float]]]]:
    """Of each position of [T, V] the log probability of its id, and the `top` likeliest."""
    for start in range(0, len(ids), ROWS):
        logprobs = torch.log_softmax(logits[start : start + ROWS].float(), dim=-1)
        chosen = ids[start : start + ROWS]
        values, best = logprobs.topk(min(top, logprobs.shape[-1]), dim=-1)
        for row, token in enumerate(chosen):
            value = float(logprobs[row, token])
            likeliest = list(zip(best[row].tolist(), values[row].tolist(), strict=True))
            yield (value if math.isfinite(value) else -1e4), likeliest


def _known(ids: Sequence[int], vocabulary: int) -> list[int]:
    unknown = next((token_id for token_id in ids if not 0 <= token_id < vocabulary), None)
    if unknown is not None:
        raise InvalidRequest(f"the token id {unknown} is outside of the vocabulary of {vocabulary}", param="prompt")
    return list(ids)
