"""Modules without weights: their shapes, and what is not loaded for them."""

import subprocess
import sys

import torch
from torch import nn

from pandagpt_core.empty_weights import init_empty_weights

# torch's compiler and SymPy: 70 MB that a worker would keep. transformers: for training and benchmarks alone. The rest
# decodes media, which the gateway's children do.
UNWANTED = ("sympy", "torch._dynamo", "transformers", "av", "PIL", "pi_heif", "soundfile")
SERVED = """
import sys
from pathlib import Path
import numpy as np
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.types import Conversation, SamplingParams, Turn
options = RuntimeOptions(device="cpu", dtype="float32", runner="torch", max_sequences=2)
runtime = load_model(Path("models/panda-mini"), options)
runtime.encode("text", [np.zeros((1, 77), np.int64)])
talk = Conversation((Turn("user", "hi"),))
runtime.admit(SequenceRequest("a", talk, (), SamplingParams(max_tokens=2)))
while runtime.has_work:
    runtime.step()
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm, self.mix = nn.Embedding(5, 8), nn.LayerNorm(8), nn.Linear(8, 8)
        self.attend, self.picture = nn.MultiheadAttention(8, 2), nn.Conv2d(3, 8, 3)
        self.drawn = nn.Parameter(nn.init.trunc_normal_(torch.empty(3, 4), std=0.02))


def test_an_empty_module_has_the_shapes_of_a_filled_one_and_no_numbers() -> None:
    with init_empty_weights():
        empty = Block()
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert {k: v.shape for k, v in empty.state_dict().items()} == {k: v.shape for k, v in Block().state_dict().items()}


def test_outside_modules_are_filled_as_ever() -> None:
    with init_empty_weights():
        Block()
    made = Block()
    assert all(bool(parameter.isfinite().all()) for parameter in made.parameters())
    assert made.mix.weight.abs().sum() > 0


def test_serving_the_default_loads_no_compiler_and_no_transformers() -> None:
    done = subprocess.run([sys.executable, "-c", SERVED, *UNWANTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
