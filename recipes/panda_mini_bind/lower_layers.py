"""The layers below the first that gets the vector: media cannot change them, so each sequence passes them once.

A question's words are computed once for all of its answers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pandagpt_core.llm.attention.base import Attend, causal_mask
from pandagpt_core.llm.llama import LayerBias, Llama
from pandagpt_core.llm.rope import rotary


def run_layers(
    llm: Llama, x: Tensor, which: range, attend: Attend, bias: LayerBias | None = None, first: int = 0
) -> Tensor:
    """[B, T, D] through the layers of `which`, at positions from `first` on; without the final norm."""
    positions = torch.arange(first, first + x.shape[1], device=x.device).expand(len(x), -1)
    rotation = rotary(positions, llm.config.head_dim, llm.config.rope)
    for index in which:
        x = llm.model.layers[index](x, index, rotation, attend, bias)
    return x


class AfterPrompt:
    """Causal attention over one prompt [1, P], then over many answers [B, T] that all follow it."""

    def __init__(self) -> None:
        self._prompt: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        new = q.shape[1]
        if layer in self._prompt:
            k, v = (
                torch.cat((before.expand(len(q), -1, -1, -1), now), dim=1)
                for before, now in zip(self._prompt[layer], (k, v), strict=True)
            )
        else:
            self._prompt[layer] = (k, v)
        mask = causal_mask(new, k.shape[1], q.device)  # [T, P + T]; answers are padded on the right
        groups = q.reshape(*q.shape[:2], k.shape[2], -1, q.shape[-1])  # [B, T, KV, G, d]
        weights = torch.einsum("btkgd,bskd->bkgts", groups.float(), k.float()) * q.shape[-1] ** -0.5 + mask
        return torch.einsum("bkgts,bskd->btkgd", weights.softmax(dim=-1), v.float()).flatten(2, 3)


class LowerLayers:
    """The states [T, D] of whole sequences above the first `count` layers, bfloat16, of one question at a time."""

    def __init__(self, llm: Llama, count: int) -> None:
        self._llm, self._which = llm, range(count)

    @torch.inference_mode()
    def states(self, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[Tensor]:
        """One [P + T, D] for each answer of the prompt."""
        attend, longest = AfterPrompt(), max(map(len, answers))
        padded = torch.tensor([(*one, *[0] * (longest - len(one))) for one in answers])
        asked = self._run(torch.tensor([list(prompt)]), attend, 0)[0]
        answered = self._run(padded, attend, len(prompt))
        return [torch.cat((asked, row[: len(one)])).bfloat16() for row, one in zip(answered, answers, strict=True)]

    def _run(self, ids: Tensor, attend: Attend, first: int) -> Tensor:
        return run_layers(self._llm, self._llm.embed(ids), self._which, attend, first=first)


def all_states(
    llm: Llama, count: int, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
) -> dict[str, Tensor]:
    """Of every question and its answers, by `QUESTION.ANSWER`."""
    lower = LowerLayers(llm, count)
    return {
        f"{at}.{which}": state
        for at, (prompt, every) in enumerate(zip(prompts, answers, strict=True))
        for which, state in enumerate(lower.states(prompt, every))
    }
