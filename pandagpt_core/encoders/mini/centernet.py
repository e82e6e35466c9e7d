"""CenterNet over MobileNetV3 (Zhou et al. 2019; Howard et al. 2019): things of COCO's 80 kinds, with their places.

Weights: npm `@vladmandic/human` (MIT), models/centernet, whose batch norms are folded. Input is RGB, 0 to 255. A thing
is a peak of its kind's heat map; the offsets to its box's sides are read at the peak.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.mini.trunk import SameConv2d

KINDS = 80
_STRIDE = 4  # of the heat maps
_REACH = 16.0  # the box's sides are given in these pixels
# Of each block: kernel, stride, expanded width, output width, whether it squeezes and excites, hard swish or ReLU.
_BLOCKS = (
    (3, 1, 0, 16, False, False),
    (3, 2, 64, 24, False, False),
    (3, 1, 72, 24, False, False),
    (5, 2, 72, 32, True, False),
    (5, 1, 96, 32, True, False),
    (5, 1, 96, 32, True, False),
    (3, 2, 192, 64, False, True),
    (3, 1, 160, 64, False, True),
    (3, 1, 144, 64, False, True),
    (3, 1, 144, 64, False, True),
    (3, 1, 384, 88, True, True),
    (3, 1, 528, 88, True, True),
    (5, 2, 528, 120, True, True),
    (5, 1, 720, 120, True, True),
    (5, 1, 720, 120, True, True),
)
_TAPPED = (3, 5)  # the head reads their expanded maps too
_LAST = 11  # the head reads their output too
_DEEP = 480
_SQUEEZED = {72: 24, 96: 24, 384: 96, 528: 136, 720: 184}


def _hard_swish(x: Tensor) -> Tensor:
    return F.hardswish(x)


class _Squeeze(nn.Module):
    """Squeeze and excite, with a hard sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, _SQUEEZED[width], 1)
        self.expand = nn.Conv2d(_SQUEEZED[width], width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)


class _CenterNetBlock(nn.Module):
    """Expand, depthwise, squeeze, project; with a residual where shapes allow."""

    def __init__(
        self, inputs: int, kernel: int, stride: int, hidden: int, outputs: int, squeezes: bool, swish: bool
    ) -> None:
        super().__init__()
        width = hidden or inputs
        self.expand = nn.Conv2d(inputs, hidden, 1) if hidden else None
        self.depthwise = SameConv2d(width, width, kernel, stride, groups=width)
        self.squeeze = _Squeeze(width) if squeezes else None
        self.project = nn.Conv2d(width, outputs, 1)
        self.residual = stride == 1 and inputs == outputs
        self.act = _hard_swish if swish else F.relu

    def expanded(self, x: Tensor) -> Tensor:
        return x if self.expand is None else self.act(self.expand(x))

    def forward(self, x: Tensor, wide: Tensor) -> Tensor:
        """x is the block's input, wide what `expanded` made of it."""
        y = self.act(self.depthwise(wide))
        y = self.project(y if self.squeeze is None else self.squeeze(y))
        out: Tensor = x + y if self.residual else y
        return out


class _Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class _Lateral(nn.Module):
    """An earlier map on its way to the head."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, hidden, 1)
        self.mix = _Separable(hidden, outputs, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mix(F.relu(self.reduce(x)))
        return y


class _Up(nn.Module):
    """Two separable convolutions, summed and drawn twice as large."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.small = _Separable(inputs, outputs, 3)
        self.large = _Separable(inputs, outputs, 5)

    def forward(self, x: Tensor) -> Tensor:
        return _doubled(self.small(x) + self.large(x))


def _doubled(x: Tensor) -> Tensor:
    """TensorFlow's bilinear resize by 2 without half pixels: even places are copies, odd ones means to the right."""
    x = torch.stack((x, (x + torch.cat((x[..., 1:], x[..., -1:]), dim=-1)) / 2), dim=-1).flatten(-2)
    below = torch.cat((x[..., 1:, :], x[..., -1:, :]), dim=-2)
    return torch.stack((x, (x + below) / 2), dim=-2).flatten(-3, -2)


class CenterNet(nn.Module):
    """[N, 3, H, W] in, H and W multiples of 32, heat [N, 80, H/4, W/4] in 0..1 and reach [N, 4, H/4, W/4] out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3, 2)
        widths = [16, *(block[3] for block in _BLOCKS)]
        self.blocks = nn.ModuleList(
            _CenterNetBlock(inputs, *block) for inputs, block in zip(widths[:-1], _BLOCKS, strict=True)
        )
        self.deep = nn.Conv2d(widths[-1], _DEEP, 1)
        self.c2, self.c3, self.c4 = _Lateral(72, 18, 64), _Lateral(96, 24, 96), _Lateral(88, 22, 128)
        self.up5, self.up4, self.up3 = _Up(_DEEP, 128), _Up(256, 96), _Up(192, 64)
        self.gate_in, self.gate_out = nn.Conv2d(128, 32, 1), nn.Conv2d(32, 128, 1, bias=False)
        self.kinds, self.reach = _Separable(128, KINDS, 3), _Separable(128, 4, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = _hard_swish(self.stem(images))
        taps = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, _CenterNetBlock)
            wide = block.expanded(x)
            x = block(x, wide)
            taps += [wide] if index in _TAPPED else [x] if index == _LAST else []
        c2, c3, c4 = self.c2(taps[0]), self.c3(taps[1]), self.c4(taps[2])
        y = F.relu(torch.cat((c4, self.up5(_hard_swish(self.deep(x)))), dim=1))
        y = F.relu(torch.cat((c3, self.up4(y)), dim=1))
        y = F.relu(torch.cat((c2, self.up3(y)), dim=1))
        y = y * torch.sigmoid(self.gate_out(F.relu(self.gate_in(y.mean(dim=(2, 3), keepdim=True)))))
        return torch.sigmoid(self.kinds(y)), self.reach(y) * _REACH


@dataclass(frozen=True, slots=True)
class Things:
    """The things found in one picture, the surest first: scores [K], kinds [K], boxes [K, 4] in shares of the sides."""

    scores: Tensor
    kinds: Tensor
    boxes: Tensor


def things(heat: Tensor, reach: Tensor, most: int, least: float) -> Things:
    """The peaks of one picture's heat [80, h, w] that reach `least`; boxes that overlap one of a kind are left out."""
    peaks = heat * (heat == F.max_pool2d(heat[None], 3, 1, 1)[0])
    height, width = heat.shape[1:]
    scores, at = peaks.flatten().topk(min(4 * most, peaks.numel()))
    kinds, rest = at // (height * width), at % (height * width)
    y, x = rest // width, rest % width
    left, top, right, bottom = reach[:, y, x]
    px, py = x * float(_STRIDE), y * float(_STRIDE)
    size = torch.tensor([width, height, width, height]) * float(_STRIDE)
    boxes = (torch.stack((px - left, py - top, px + right, py + bottom), dim=1) / size).clamp(0, 1)
    kept = _apart(scores, kinds, boxes, most, least)
    return Things(scores[kept], kinds[kept], boxes[kept])


def _apart(scores: Tensor, kinds: Tensor, boxes: Tensor, most: int, least: float) -> list[int]:
    kept: list[int] = []
    for index in range(len(scores)):
        same = [other for other in kept if kinds[other] == kinds[index]]
        if scores[index] >= least and all(overlap(boxes[index], boxes[other]) < 0.45 for other in same):
            kept.append(index)
    return kept[:most]


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two boxes."""
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    both = float((high - low).clamp(min=0).prod())
    areas = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod())
    return both / max(areas - both, 1e-9)
