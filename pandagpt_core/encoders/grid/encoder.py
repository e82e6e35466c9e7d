"""A small convolutional encoder that keeps where things are: EfficientNet-Lite0 at 448 pixels, tokens joined by four.

MiniGPT-v2 (Chen et al. 2023, section 3.1) joins four neighbouring tokens of a vision transformer. Here the trunk's grid
of 28 by 28 cells is joined to 14 by 14, beside its last stage. A head over it finds the centres of things (Zhou et al.
2019, "Objects as Points"), and the rows of a picture are lines about the likeliest things (`grid.lines`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.eva_vit import RECIPE
from pandagpt_core.encoders.grid.lines import FoundThings, LineWriter, Words
from pandagpt_core.encoders.grid.sizes import GROUPS, THINGS, GridSizes
from pandagpt_core.encoders.mini.trunk import FEATURES, EfficientNetLite0
from pandagpt_core.encoders.static.tower import StaticTower
from pandagpt_core.errors import InvalidMedia, UnsupportedModality
from pandagpt_core.types import Modality

IMAGE, CELL = 448, 32
SIDE = IMAGE // CELL  # cells along each side
BLOCKS = 7  # along each side: things of one line of them count as next to each other, left to right
# Channels of the trunk's last stage, of its fifth with four cells joined, and of the picture's own colours, joined too:
# a network that was trained to name things has forgotten what colour they were.
DEEP, FINE, PLAIN = 320, 448, 12
_OUTPUTS = 5  # of the head before the names: a centre, and four sides
_TINTS = 64  # width of the convolutions over the colours
_FAR = 3.0  # the logarithm of the longest distance from a centre to a side, in cells
_OVERLAP = 0.6  # of two centres whose boxes overlap more, the weaker is no thing
# Of the recipe (CLIP's), and of the trunk's published input.
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_TRUNK_MEAN, _TRUNK_STD = 127 / 255, 128 / 255


class GridFeatures(NamedTuple):
    """Of every cell [N, side, side, ...]: how likely a centre (logit), names and colours (logits), a box of 0 to 1."""

    centre: Tensor
    names: Tensor
    colours: Tensor
    boxes: Tensor


class GridTrunk(nn.Module):
    """EfficientNet-Lite0 without its classifier; [N, 3, 448, 448] to [N, 780, 14, 14]: deep, fine, and plain."""

    _FINE_BLOCKS = 11  # the first five stages

    def __init__(self) -> None:
        super().__init__()
        whole = EfficientNetLite0()
        self.stem, self.head = whole.stem, whole.head
        self.blocks = whole.blocks

    def forward(self, pictures: Tensor) -> Tensor:
        plain = F.pixel_unshuffle(F.avg_pool2d(pictures, CELL // 2), 2)
        x = F.relu6(self.stem(pictures))
        blocks = list(self.blocks.children())
        for block in blocks[: self._FINE_BLOCKS]:
            x = block(x)
        fine = F.pixel_unshuffle(x, 2)
        for block in blocks[self._FINE_BLOCKS :]:
            x = block(x)
        return torch.cat((x, fine, plain), dim=1)

    def widened(self, maps: Tensor) -> Tensor:
        """[N, 780, H, W] to [N, 1740, H, W]: the deep features as the trunk's classifier reads them."""
        return torch.cat((F.relu6(self.head(maps[:, :DEEP])), maps[:, DEEP:]), dim=1)


class _GridResidual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.norm = nn.GroupNorm(GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.norm(self.conv(x)))


class GridHead(nn.Module):
    """[N, 1740, 14, 14] features of a trunk in, the thing at each cell's centre out."""

    def __init__(self, sizes: GridSizes) -> None:
        super().__init__()
        self.named = _OUTPUTS + sizes.names
        self.narrow = nn.Conv2d(FEATURES + FINE, sizes.width, 1)
        self.narrow_norm = nn.GroupNorm(GROUPS, sizes.width)
        self.places = nn.Parameter(torch.zeros(sizes.width, SIDE, SIDE))
        self.blocks = nn.Sequential(*(_GridResidual(sizes.width) for _ in range(sizes.depth)))
        self.read = nn.Conv2d(sizes.width, _OUTPUTS + sizes.names + sizes.colours, 1)
        self.tints = nn.Sequential(
            *(nn.Conv2d(PLAIN, _TINTS, 3, 1, 1), nn.GELU(), nn.Conv2d(_TINTS, _TINTS, 3, 1, 1), nn.GELU()),
            nn.Conv2d(_TINTS, sizes.colours, 1),
        )

    def forward(self, features: Tensor) -> GridFeatures:
        known, plain = features[:, :-PLAIN], features[:, -PLAIN:]
        x = F.gelu(self.narrow_norm(self.narrow(known))) + self.places
        read: Tensor = self.read(self.blocks(x)).float().permute(0, 2, 3, 1)
        tints: Tensor = self.tints(plain).float().permute(0, 2, 3, 1)
        names, colours = read[..., _OUTPUTS : self.named], read[..., self.named :] + tints
        return GridFeatures(read[..., 0], names, colours, _boxes(read[..., 1:_OUTPUTS]))


class GridEncoder(nn.Module):
    """Rows for a picture, by MiniGPT-v2's contract. `threshold`: how likely a centre has to be."""

    def __init__(self, sizes: GridSizes, threshold: float = 0.35) -> None:
        super().__init__()
        self.sizes = sizes
        self.threshold = threshold
        self.rows, self.dim = sizes.rows, sizes.row_width
        self.recipes: Mapping[Modality, str] = {Modality.IMAGE: RECIPE}
        self.trunk = GridTrunk()
        self.head = GridHead(sizes)
        self.maps: Callable[[Tensor], Tensor] = self.trunk.__call__  # by torch, or what suits better
        self.eval()
        self.requires_grad_(False)

    def see(self, pictures: Tensor) -> GridFeatures:
        """[N, 3, 448, 448] as the recipe prepares them."""
        seen: GridFeatures = self.head(self.trunk.widened(self.maps(for_trunk(pictures))))
        return seen

    def static_towers(self) -> Sequence[StaticTower]:
        """The trunk, which takes most of the time (`encoders.static`)."""
        clip = torch.randn(1, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(0))
        clip = clip.to(next(self.parameters()).device)
        return [StaticTower("image", self.trunk, clip, lambda tower: setattr(self, "maps", tower.__call__))]

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: Tensor) -> Tensor:
        """[N, 3, 448, 448] pictures in, [N, R, K] float32 rows out.

        Raises UnsupportedModality for another medium and InvalidMedia for another shape.
        """
        if modality not in self.recipes:
            raise UnsupportedModality(f"the model has no tower for {modality}")
        if tuple(clips.shape[1:]) != (3, IMAGE, IMAGE):
            raise InvalidMedia(f"a picture has shape {tuple(clips.shape[1:])}, the encoder takes (3, {IMAGE}, {IMAGE})")
        return rows_of(self.see(clips.float()), self.sizes.words, self.threshold)


def for_trunk(pictures: Tensor) -> Tensor:
    """Pictures of the recipe as the trunk's training had them."""
    mean, std = (torch.tensor(value, device=pictures.device).view(3, 1, 1) for value in (_MEAN, _STD))
    return (pictures * std + mean - _TRUNK_MEAN) / _TRUNK_STD


def rows_of(seen: GridFeatures, words: Words, threshold: float) -> Tensor:
    """[N, R, K]: a line for each of the likeliest things, in reading order."""
    return LineWriter(words).write(found_things(seen, threshold))


def found_things(seen: GridFeatures, threshold: float) -> FoundThings:
    """The likeliest things of each picture, in reading order; entries without a thing come last."""
    likely = (seen.centre.sigmoid() * centres(seen, threshold)).flatten(1)
    score, at = likely.topk(THINGS, dim=1)  # [N, M] cells
    last = (score == 0) * BLOCKS**2
    at = at.gather(1, (reading_place(_taken(seen.boxes, at)) + last).argsort(dim=1, stable=True))
    names, colours = (likeliest(_taken(logits, at)) for logits in (seen.names, seen.colours))
    return FoundThings(names, colours, _taken(seen.boxes, at), likely.gather(1, at) > 0)


def likeliest(logits: Tensor, most: int = 2) -> Tensor:
    """[..., C] logits to shares of the `most` likeliest that sum to 1; shares of all words at once name none."""
    shares, at = logits.softmax(dim=-1).topk(most, dim=-1)
    return torch.zeros_like(logits).scatter(-1, at, shares / shares.sum(dim=-1, keepdim=True))


def reading_place(boxes: Tensor) -> Tensor:
    """[..., 4] to [...]: by lines of blocks, top to bottom, then left to right."""
    column, row = ((boxes[..., at] + boxes[..., at + 2]).mul(BLOCKS / 2).long().clamp(0, BLOCKS - 1) for at in (0, 1))
    return row * BLOCKS + column


def _taken(maps: Tensor, at: Tensor) -> Tensor:
    """[N, side, side, C] at [N, M] cells: [N, M, C]."""
    flat = maps.flatten(1, 2)
    return flat.gather(1, at[:, :, None].expand(-1, -1, flat.shape[-1]))


def centres(seen: GridFeatures, threshold: float) -> Tensor:
    """[N, side, side] booleans: likely enough, the likeliest of its neighbours, and of those that overlap it."""
    likely = seen.centre.sigmoid()
    highest = F.max_pool2d(likely[:, None], 3, 1, 1)[:, 0]
    peak = (likely >= threshold) & (likely == highest)
    flat, score = seen.boxes.flatten(1, 2), (likely * peak).flatten(1)
    stronger = score[:, None, :] > score[:, :, None]  # [N, cell, other]
    beaten = ((overlaps(flat) > _OVERLAP) & stronger).any(dim=-1)
    return peak & ~beaten.view_as(peak)


def overlaps(boxes: Tensor) -> Tensor:
    """[N, M, 4] to [N, M, M]: intersection over union of each with each."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1)
    return shared / (area[:, :, None] + area[:, None, :] - shared).clamp_min(1e-9)


def _boxes(sides: Tensor) -> Tensor:
    """[N, side, side, 4] logarithms of the distances from each cell's middle, in cells, to boxes of 0 to 1."""
    middle = (torch.arange(SIDE, device=sides.device) + 0.5) / SIDE
    x, y = middle.expand(SIDE, SIDE), middle[:, None].expand(SIDE, SIDE)
    left, top, right, bottom = (sides.clamp(-_FAR, _FAR).exp() / SIDE).unbind(dim=-1)
    return torch.stack((x - left, y - top, x + right, y + bottom), dim=-1).clamp(0, 1)
