"""The distance of a model's answers from those of the stored weights, and its limit.

A caller who wants the same precision on every machine names one; else `llm.autotune` chooses.
"""

from typing import Literal

import torch
from torch import Tensor

from pandagpt_core.llm.language_model import Predicts
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Precision

MARGIN = 0.02  # nats of mean Kullback-Leibler divergence over PROBE tokens; bf16 has 0.002, int8 0.014 on SmolLM2
SMALL = 16_000_000  # weights of products: below, a step's time is not in the products and nothing is to be gained
PROBE = 32  # token ids drawn evenly from the vocabulary: harder to predict, so more sensitive, than any real text

PrecisionChoice = Precision | Literal["auto"]


@torch.inference_mode()
def divergence(reference: Tensor, llm: Predicts) -> float:
    """Mean KL divergence, in nats a token, of a model's predictions over the probe from the reference's [PROBE, V]."""
    log_p, log_q = reference.log_softmax(dim=-1), probed(llm).log_softmax(dim=-1)
    return float((log_p.exp() * (log_p - log_q)).sum(dim=-1).mean())


@torch.inference_mode()
def probed(llm: Predicts) -> Tensor:
    """[PROBE, V] logits over the same tokens each time."""
    ids = torch.randint(0, llm.config.vocab, (1, PROBE), generator=torch.Generator().manual_seed(0))
    logits: Tensor = llm(llm.embed(ids))
    return logits[0]


def is_small(llm: Llama, least: int = SMALL) -> bool:
    """Whether a step's time is not in the products, so that nothing is to be gained by fewer bits."""
    return sum(p.numel() for name, p in llm.named_parameters() if p.dim() == 2 and "embed" not in name) < least
