"""The small default's evidence about an item beside its embedding, in the rows that `perception.rows` describes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pandagpt_core.encoders.mini.centernet import KINDS, things
from pandagpt_core.encoders.mini.towers import ImageTower
from pandagpt_core.perception.appearance import Looked, inside, look
from pandagpt_core.perception.rows import (
    MOST_THINGS,
    WIDTH,
    Measures,
    ThingRow,
    classes_rows,
    scores_row,
    things_row,
)
from pandagpt_core.types import Modality

CROP = 224  # the trunk's side, and the columns of it right of the whole picture
_SURE = 0.25  # of the detector, for a thing to be kept
_MARGIN = 0.12  # around a shape that is looked at by itself
_FULL = 0.6  # of the picture's area: a single shape as large as this is the picture

Finder = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A detector, as `CenterNet.forward`."""


class _Encoder(Protocol):
    dim: int
    towers: Any

    def encode(self, modality: Modality, clips: Tensor) -> Tensor: ...


def crop_of(clips: Tensor) -> Tensor:
    """[N, 3, 224, 224]: of a detailed array [N, 3, S, S + 224] the crop beside the whole picture."""
    return clips if clips.shape[-1] == CROP else clips[..., :CROP, -CROP:]


def rows_of(encoder: _Encoder, modality: Modality, items: Sequence[np.ndarray]) -> list[Tensor]:
    """[n, dim] for each item; n is the modality's (`perception.rows.ROWS`)."""
    device = next(iter(encoder.towers.parameters())).device
    clips = torch.from_numpy(np.concatenate(items)).to(device)
    parts = [len(item) for item in items]
    if modality == Modality.IMAGE and "things" in encoder.towers:
        return [
            _pictured(encoder, clip, *seen) for clip, seen in zip(clips, _seen(encoder, crop_of(clips)), strict=True)
        ]
    if modality == Modality.VIDEO:
        seen = list(_seen(encoder, clips))
        return [
            _filmed(part, several) for part, several in zip(_split(clips, parts), _chunks(seen, parts), strict=True)
        ]
    embedded = encoder.encode(modality, clips)
    return [
        torch.stack((vectors.mean(dim=0), Measures(spread=float(part.float().std())).row().to(device)))
        for vectors, part in zip(torch.split(embedded, parts), _split(clips, parts), strict=True)
    ]


def _seen(encoder: _Encoder, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each crop: its embedding, and its probabilities of ImageNet's classes."""
    tower: ImageTower = encoder.towers["image"]
    pooled, logits = tower.trunk(images)
    units = tower.head(pooled, logits).float()
    return list(zip(units, logits.float().softmax(dim=-1), strict=True))


def _filmed(frames: Tensor, seen: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    unit = torch.stack([one for one, _ in seen]).mean(dim=0)
    classes = torch.stack([other for _, other in seen]).mean(dim=0)
    measures = look(_pixels(frames[len(frames) // 2])).measures
    return torch.cat((unit[None], measures.row()[None].to(unit), classes_rows(classes)))


def _pictured(encoder: _Encoder, clip: Tensor, unit: Tensor, classes: Tensor) -> Tensor:
    whole = clip[:, :, :-CROP] if clip.shape[-1] != CROP else clip
    looked = look(_pixels(whole))
    found, scores = list(looked.shapes), torch.zeros(KINDS)
    if not found:
        found, scores = _detected(encoder.towers["things"], whole, looked)
    by_itself = looked.shapes and not (len(found) == 1 and found[0].area > _FULL)
    units = _looked_at(encoder, whole, found, looked) if by_itself else []
    below = torch.zeros(MOST_THINGS, WIDTH)
    for index, each in enumerate(units):
        below[index] = each
    head = torch.cat((unit[None].cpu(), looked.measures.row()[None], classes_rows(classes.cpu())))
    return torch.cat((head, things_row(found)[None], below, scores_row(scores)[None])).to(unit)


def _detected(network: Finder, whole: Tensor, looked: Looked) -> tuple[list[ThingRow], Tensor]:
    """The things that are sure enough, and [80] the best score of each kind."""
    side = whole.shape[-1] // 32 * 32
    heat, reach = network(whole[None, :, :side, :side] * 128 + 127)
    found = things(heat[0].float().cpu(), reach[0].float().cpu(), MOST_THINGS, _SURE)
    rows = []
    for score, kind, box in zip(found.scores.tolist(), found.kinds.tolist(), found.boxes.tolist(), strict=True):
        left, top, right, bottom = box
        rows.append(ThingRow(score, kind, left, top, right, bottom, ()))
    coloured = [replace(row, colours=inside(looked, (row.left, row.top, row.right, row.bottom))) for row in rows]
    return coloured, heat[0].float().amax(dim=(1, 2)).cpu()


def _looked_at(encoder: _Encoder, whole: Tensor, shapes: Sequence[ThingRow], looked: Looked) -> list[Tensor]:
    crops = torch.stack([_cut(whole, shape, looked) for shape in shapes])
    return [unit for unit, _ in _seen(encoder, crops)]


def _cut(whole: Tensor, shape: ThingRow, looked: Looked) -> Tensor:
    """The shape in the middle of a square of its ground."""
    side = whole.shape[-1]
    left, top, right, bottom = (round(v * side) for v in (shape.left, shape.top, shape.right, shape.bottom))
    piece = whole[:, max(top, 0) : bottom, max(left, 0) : right]
    height, width = piece.shape[1:]
    square = round(max(height, width) * (1 + 2 * _MARGIN))
    ground = (torch.tensor(looked.rim_colour, device=whole.device, dtype=whole.dtype) - 127) / 128
    canvas = ground[:, None, None].repeat(1, square, square)
    y, x = (square - height) // 2, (square - width) // 2
    canvas[:, y : y + height, x : x + width] = piece
    size = (CROP, CROP)
    return F.interpolate(canvas[None], size, mode="bicubic", align_corners=False, antialias=True)[0]


def _pixels(image: Tensor) -> np.ndarray:
    """[H, W, 3] in 0..255."""
    pixels: np.ndarray = (image.float() * 128 + 127).clamp(0, 255).permute(1, 2, 0).cpu().numpy()
    return pixels


def _split(clips: Tensor, parts: Sequence[int]) -> list[Tensor]:
    return list(torch.split(clips, list(parts)))


def _chunks(seen: list[tuple[Tensor, Tensor]], parts: Sequence[int]) -> list[list[tuple[Tensor, Tensor]]]:
    found, at = [], 0
    for n in parts:
        found.append(seen[at : at + n])
        at += n
    return found
