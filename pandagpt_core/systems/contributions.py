"""Each medium's contribution to an answer: the gain in the answer's probability by that medium.

The answer's tokens are scored after the prompt with every medium, and after the prompts that lack one of them, as if it
had not been sent (leave one out: Li et al. 2016, "Understanding neural networks through representation erasure"). A
medium that comes again in a later turn is one medium.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.systems.base import System
from pandagpt_core.types import NOTHING_FOUND, Conversation, Fields, Found

# Positions that are computed at a time: for how long the other requests of a worker wait.
ROWS = 64


def check_explainable(inputs: LLMInputs) -> None:
    """Raises InvalidRequest for a system whose media stand in no place of the prompt."""
    if inputs.layer_bias is not None:
        raise InvalidRequest("this model adds its media to every layer and cannot explain its answers", param="explain")


def contributions(
    system: System,
    conversation: Conversation,
    rows: Sequence[Tensor],
    answer: Sequence[int],
    found: Found = NOTHING_FOUND,
) -> Iterator[Fields | None]:
    """None after each piece that was computed, and the fields last. `rows`: [n, E] of each of the media.

    found: of the media in a cache, by `System.look_up`. Log likelihoods are in nats, of the whole answer, at
    temperature 1.
    """
    if not answer:
        yield {"contributions": {"tokens": 0, "log_likelihood": 0.0, "read_tokens": 0, "media": []}}
        return
    whole = system.prepare(conversation, rows, found)
    every, read = yield from _log_likelihood(system, whole, answer)
    media = []
    for first, uses in _media(conversation).items():
        kept = [index for index in range(len(rows)) if index not in uses]
        fewer = replace(conversation, media=tuple(conversation.media[index] for index in kept))
        inputs = system.prepare(fewer, [rows[index] for index in kept], found)
        without, more = yield from _log_likelihood(system, inputs, answer)
        use, read = conversation.media[first], read + more
        gain = {"without": round(without, 4), "gain": round(every - without, 4)}
        media.append({"modality": str(use.modality), "turn": use.turn, **gain})
    scored = {"tokens": len(answer), "log_likelihood": round(every, 4), "read_tokens": read}
    yield {"contributions": {**scored, "media": media}}


def _media(conversation: Conversation) -> dict[int, set[int]]:
    """The uses of each medium by its first one."""
    firsts: dict[tuple[str, str], int] = {}
    uses: dict[int, set[int]] = {}
    for index, use in enumerate(conversation.media):
        first = firsts.setdefault((use.modality, use.digest), index)
        uses.setdefault(first, set()).add(index)
    return uses


def _log_likelihood(
    system: System, inputs: LLMInputs, answer: Sequence[int]
) -> Generator[None, None, tuple[float, int]]:
    """Of the answer's tokens after the prompt, and how many positions were read."""
    embeds = torch.cat([inputs.embeds, system.llm.embed(list(answer[:-1]))])
    forward, first = system.llm.chunked(len(embeds)), len(inputs.ids) - 1
    total = 0.0
    for start in range(0, len(embeds), ROWS):
        with torch.inference_mode():
            logits = forward(embeds[start : start + ROWS])  # [N, V]
            total += _scored(logits, answer[max(0, start - first) : max(0, start + len(logits) - first)])
        yield
    return total, len(embeds)


def _scored(logits: Tensor, tokens: Sequence[int]) -> float:
    """The sum of the log probabilities of tokens, each after one of the last positions [N, V]."""
    if not tokens:
        return 0.0
    chosen = torch.tensor(tokens, device=logits.device)[:, None]
    return float(logits[-len(tokens) :].float().log_softmax(dim=-1).gather(1, chosen).sum())
