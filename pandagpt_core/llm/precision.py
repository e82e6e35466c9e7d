"""Which precision serves best here: the fastest whose answers stay within a stated margin of the stored weights' own.

Measured at load in about a second beside the packing: one layer's products at a few widths, then what the whole model
says of a few tokens. A caller who wants the same precision on every machine names one.
"""

import copy
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from pandagpt_core.llm.llama import Layer, Llama
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.quant.linear import Linear, Precision, in_precision

MARGIN = 0.02  # nats of mean Kullback-Leibler divergence over PROBE tokens; bf16 has 0.002, int8 0.014 on SmolLM2
FASTER = 1.2  # times: less is noise and not worth another rounding
SMALL = 16_000_000  # weights of products: below, a step's time is not in the products and nothing is to be gained
PROBE = 32  # token ids drawn evenly from the vocabulary: harder to predict, so more sensitive, than any real text
CANDIDATES: tuple[Precision, ...] = ("int8", "bf16")  # on a CPU, most to be gained first

Wanted = Precision | Literal["auto"]
Timer = Callable[[Llama, Precision], float]


def served(llm: Llama, precision: Wanted, device: str | torch.device = "cpu") -> Llama:
    """The model made ready to serve (`Llama.serve`), in the precision named or, by "auto", in the one that suits.

    "auto" is bf16 on an accelerator. On a CPU it is the first of CANDIDATES that is FASTER than fp32 and within the
    MARGIN, and else fp32, as it is for SMALL models.
    """
    if precision != "auto":
        return llm.serve(precision, device)
    if torch.device(device).type != "cpu":
        return llm.serve("bf16", device)
    return _first_fit(llm, seconds) or llm.serve("fp32")


@torch.inference_mode()
def seconds(llm: Llama, precision: Precision) -> float:
    """Of one layer's feed-forward products at 1 and at 16 rows: the best of a few runs."""
    layer = llm.model.layers[0]
    assert isinstance(layer, Layer)
    assert isinstance(layer.mlp.down_proj, Linear)
    products = [in_precision(linear, precision, "cpu") for linear in (layer.mlp.up_proj, layer.mlp.down_proj)]
    return sum(min(_once(product, rows) for _ in range(5)) for product in products for rows in (1, 16))


@torch.inference_mode()
def divergence(reference: Tensor, llm: Llama) -> float:
    """Mean KL divergence, in nats a token, of a model's predictions over the probe from the reference's [PROBE, V]."""
    log_p, log_q = reference.log_softmax(dim=-1), probed(llm).log_softmax(dim=-1)
    return float((log_p.exp() * (log_p - log_q)).sum(dim=-1).mean())


@torch.inference_mode()
def probed(llm: Llama) -> Tensor:
    """[PROBE, V] logits over the same tokens each time."""
    ids = torch.randint(0, llm.config.vocab, (1, PROBE), generator=torch.Generator().manual_seed(0))
    logits: Tensor = llm(llm.embed(ids))
    return logits[0]


def _first_fit(llm: Llama, timed: Timer) -> Llama | None:
    if is_small(llm):
        return None
    plain, reference = timed(llm, "fp32"), None
    for precision in CANDIDATES:
        if (precision == "int8" and not int8_runs("cpu")) or timed(llm, precision) * FASTER > plain:
            continue
        reference = probed(llm) if reference is None else reference
        # A twin shares the weights until it serves, so the stored ones are still there if it does not do.
        twin = copy.deepcopy(llm, {id(p): p for p in llm.parameters()}).serve(precision)
        if divergence(reference, twin) <= MARGIN:
            return twin
    return None


def is_small(llm: Llama) -> bool:
    return sum(p.numel() for name, p in llm.named_parameters() if p.dim() == 2 and "embed" not in name) < SMALL


def _once(product: torch.nn.Module, rows: int) -> float:
    x = torch.ones(rows, int(product.in_features))  # type: ignore[arg-type]  # nn.Module types every attribute alike
    begun = time.perf_counter()
    product(x)
    return time.perf_counter() - begun
