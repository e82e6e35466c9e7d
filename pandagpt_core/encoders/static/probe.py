"""A tiny tower computed by OpenVINO, in a process of its own: `python -m pandagpt_core.encoders.static.probe fp32`.

As `llm.openvino.probe`: a JSON line, and a library that ends this process takes nothing else along.
"""

import functools
import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.static.tower import StaticTower, apart
from pandagpt_core.llm.openvino.capable import reasons
from pandagpt_core.llm.quant.linear import Precision

KINDS: tuple[Precision, ...] = ("fp32",)
COMMAND = (sys.executable, "-m", "pandagpt_core.encoders.static.probe")


class TinyTower(nn.Module):
    """A small network of a tower's parts: convolutions, also by channel and strided, norms, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.norm, self.point = nn.GroupNorm(4, 16), nn.Conv2d(16, 32, 1)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 8)

    def forward(self, clips: Tensor) -> Tensor:
        x = F.relu6(self.point(self.norm(F.relu(self.deep(F.hardswish(self.stem(clips)))))))
        tokens = F.layer_norm(x.flatten(2).transpose(1, 2), (32,))
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        mixed = F.gelu(F.scaled_dot_product_attention(q, k, v))
        return F.normalize(self.out(mixed).mean(dim=1), dim=-1)


@functools.cache
def why_not() -> str:
    """The reason why OpenVINO cannot compute towers here; empty where it can."""
    return reasons(COMMAND, KINDS)["fp32"]


@torch.inference_mode()
def tried() -> dict[str, Any]:
    try:
        # Extras, which take time to import.
        from pandagpt_core.encoders.static.compiled import Compiler
        from pandagpt_core.encoders.static.graphs import Graphs

        torch.manual_seed(0)
        tiny, clip = TinyTower(), torch.randn(1, 3, 16, 16)
        graph = Graphs(None).of(StaticTower("tiny", tiny, clip, put=lambda _: None))
        return {"divergence": apart(tiny(clip), Compiler(tiny, graph).at(1)(clip))}
    except Exception as error:  # noqa: BLE001  whatever it raises is why it does not compute
        return {"error": " ".join(str(error).split()) or type(error).__name__}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        sys.stdout.write(json.dumps({"precision": name, **tried()}) + "\n")
        sys.stdout.flush()
