"""From a trunk's output to the shared space: pooling, heads and the postprocessors of embeddings."""

import torch
import torch.nn.functional as F
from torch import nn

from pandagpt_core.encoders.transformer import EPS

MAX_LOGIT_SCALE = 100.0


class Head(nn.Sequential):
    """LayerNorm and a projection without bias, of a token that was chosen before.

    `gap` modules without weights stand between them where the original had the choice of the token (and in IMU's head
    a dropout of training), so that the projection's key is the same.
    """

    def __init__(self, width: int, out: int, *, gap: int) -> None:
        between = [nn.Identity() for _ in range(gap)]
        super().__init__(nn.LayerNorm(width, eps=EPS), *between, nn.Linear(width, out, bias=False))


class TextHead(nn.Module):
    """The same for text, one level deeper by the original's names."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = Head(width, out, gap=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.proj(x)
        return projected


class Unit(nn.Module):
    """[N, D] rows to length one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(x, dim=-1)


class LogitScale(nn.Module):
    """Multiply by exp(log_logit_scale), at most 100; the scale is part of every checkpoint, whether used or not."""

    log_logit_scale: torch.Tensor

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.used = used
        self.register_buffer("log_logit_scale", torch.empty(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.log_logit_scale.exp().clamp(max=MAX_LOGIT_SCALE) if self.used else x


def first_token(x: torch.Tensor) -> torch.Tensor:
    """The class token, [N, D]."""
    return x[:, 0]


def last_token(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The token at each text's end, [N, D]: the end mark has the highest id (CLIP, section 2.4)."""
    return x[torch.arange(len(x), device=x.device), ids.argmax(dim=-1)]


def up_to_last_token(ids: torch.Tensor) -> torch.Tensor:
    """[N, T], True up to each text's end."""
    return torch.arange(ids.shape[1], device=ids.device) <= ids.argmax(dim=-1, keepdim=True)
