"""A tiny model computed by OpenVINO, in a process of its own: `python -m pandagpt_core.llm.openvino.probe int8 fp32`.

One JSON line a precision as it is done: its divergence from torch, or why it does not compute. A library that ends
this process by a signal takes nothing else along.
"""

import json
import sys
from typing import Any, get_args

import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino.compiled import compile_for_cpu
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.linear import Precision

CONFIG = LlamaConfig(vocab=96, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=96, max_positions=64)


def made() -> Llama:
    """The same at each call, its weights about as large as a trained model's."""
    llama, chance = Llama(CONFIG), torch.Generator().manual_seed(0)
    for parameter in llama.parameters():
        spread = 0.0 if parameter.dim() == 1 else 0.2
        parameter.data = torch.randn(parameter.shape, generator=chance) * spread + (parameter.dim() == 1)
    return llama


def tried(precision: Precision) -> dict[str, Any]:
    try:
        return {"divergence": divergence(probed(made()), compile_for_cpu(made(), precision))}
    except Exception as error:  # noqa: BLE001  whatever it raises is why it does not compute
        return {"error": " ".join(str(error).split()) or type(error).__name__}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        assert name in get_args(Precision)
        sys.stdout.write(json.dumps({"precision": name, **tried(name)}) + "\n")  # type: ignore[arg-type]  # as asserted
        sys.stdout.flush()
