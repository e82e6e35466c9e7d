"""The small default model's own towers: the image head on the frozen trunk, and the text tower."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.mini.trunk import CLASSES, FEATURES, EfficientNetLite0


class ImageHead(nn.Module):
    """The trunk's outputs into the shared space: pooled features through a small network, classes through a table.

    The classes' share is what carries photos: the network saw drawings, the trunk's classifier saw photos.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, hidden)
        self.outer = nn.Linear(hidden, dim)
        self.classes = nn.Linear(CLASSES, dim, bias=False)

    def forward(self, pooled: Tensor, logits: Tensor, keep: Tensor | None = None) -> Tensor:
        """[N, 1280] and [N, 1000] in, [N, dim] unit vectors out. `keep` [N, 2] leaves a branch out (training)."""
        drawn = self.outer(F.gelu(self.inner(pooled)))
        named = self.classes(logits.softmax(dim=-1).sqrt())
        if keep is not None:
            drawn, named = drawn * keep[:, :1], named * keep[:, 1:]
        return F.normalize(drawn + named, dim=-1)


class ImageTower(nn.Module):
    """[N, 3, 224, 224] prepared pictures in, [N, dim] unit vectors out."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        self.head = ImageHead(dim, hidden)

    def forward(self, images: Tensor) -> Tensor:
        unit: Tensor = self.head(*self.trunk(images))
        return unit


class TextTower(nn.Module):
    """[N, L] CLIP token ids in, [N, dim] unit vectors out, pooled at the end token (Radford et al. 2021, 2.4).

    The table is factored, narrow rows and one matrix (Lan et al. 2019, ALBERT): most of a small model's weight would
    be words otherwise. Attention is causal, so padding after the end token cannot reach it.
    """

    def __init__(
        self, dim: int, width: int, layers: int, heads: int, vocabulary: int, factor: int, context: int
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, factor)
        self.widen = nn.Linear(factor, width, bias=False)
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(context, width), std=0.01))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dim, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        end = ids.argmax(dim=-1)
        ids = ids[:, : int(end.max()) + 1]
        length = ids.shape[1]
        x = self.widen(self.table(ids)) + self.positions[:length]
        mask = torch.full((length, length), float("-inf"), device=ids.device).triu(1)
        x = self.norm(self.blocks(x, mask=mask))
        return F.normalize(self.project(x[torch.arange(len(x), device=x.device), end]), dim=-1)


class SignalTower(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2020) over one-channel maps: spectrograms, depth, heat, motion.

    [N, 1, H, W] or, for motion, [N, H, W] in, [N, dim] unit vectors out. Patches as ImageBind cuts them (section 3).
    """

    def __init__(
        self,
        dim: int,
        height: int,
        span: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.size = (height, span)
        self.stem = nn.Conv2d(1, width, (kernel[0], kernel[1]), (stride[0], stride[1]))
        count = ((height - kernel[0]) // stride[0] + 1) * ((span - kernel[1]) // stride[1] + 1)
        self.stem_norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(count, width), std=0.02))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dim)

    def forward(self, maps: Tensor) -> Tensor:
        patches = self.stem(maps.reshape(len(maps), 1, *self.size)).flatten(2).transpose(1, 2)  # [N, P, width]
        x = self.blocks(self.stem_norm(patches) + self.positions)
        return F.normalize(self.project(self.norm(x.mean(dim=1))), dim=-1)
