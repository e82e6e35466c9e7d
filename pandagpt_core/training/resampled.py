"""A batch's media as the rows that a resampler makes of their towers' tokens."""

import dataclasses

import torch
from torch import Tensor

from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.training.batch import Batch, MediumTokens


def resampled(resampler: PerceiverResampler, batch: Batch) -> Batch:
    """The batch with what the queries read added to its vectors, which are k times each medium's embedding."""
    # Every parameter has a part, if none of the gradient, in every batch: data-parallel training waits for it.
    nothing = sum((parameter.sum() for parameter in resampler.parameters()), torch.zeros((), device=batch.keep.device))
    vectors = batch.vectors + 0 * nothing
    if batch.media:
        vectors = vectors + torch.cat(read_media(resampler, batch.media))
    return dataclasses.replace(batch, vectors=vectors)


def read_media(resampler: PerceiverResampler, media: tuple[MediumTokens, ...]) -> list[Tensor]:
    """[k, E] of each, the mean over its clips; media with as many tokens of one tower are read together."""
    alike: dict[tuple[str, int], list[int]] = {}
    for index, medium in enumerate(media):
        alike.setdefault((medium.tower, medium.tokens.shape[1]), []).append(index)
    found: dict[int, Tensor] = {}
    for (tower, _), members in alike.items():
        ones = [media[index] for index in members]
        keep = torch.cat([one.keep for one in ones if one.keep is not None]) if ones[0].keep is not None else None
        rows = resampler.towers[tower](torch.cat([one.tokens for one in ones]), keep)  # [clips, k, E]
        parts = torch.split(rows, [len(one.tokens) for one in ones])
        found |= {index: part.mean(dim=0) for index, part in zip(members, parts, strict=True)}
    return [found[index] for index in range(len(media))]
