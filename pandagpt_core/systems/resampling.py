"""A folder's resampler, held against the towers that its tokens come from, and its part in the names of rows."""

from collections.abc import Mapping
from pathlib import Path

import torch

from pandagpt_core.checkpoints import RESAMPLER, PandaGPTFolder, load_module
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import CheckpointError
from pandagpt_core.systems.encoder import token_towers
from pandagpt_core.types import Modality


def load_resampler(path: Path, folder: PandaGPTFolder, device: str) -> PerceiverResampler | None:
    """None for a folder with one soft token a medium. Raises CheckpointError, and KeyMismatch for weights that do not
    fit."""
    spec = folder.soft_tokens
    if spec is None:
        return None
    widths = dict(token_towers(folder).token_widths)
    if spec.towers != widths:
        raise CheckpointError(f"soft_tokens: the resampler is for tokens of {spec.towers}, the towers give {widths}")
    with init_empty_weights():
        resampler = PerceiverResampler(spec, folder.projection.in_dim)
    load_module(resampler, path / RESAMPLER, device=device, dtype=torch.float32)
    return resampler.eval()


def with_resampler(folder: PandaGPTFolder, digests: Mapping[Modality, str]) -> dict[Modality, str]:
    """The digests of towers, made those of the rows that the folder gives."""
    return {modality: folder.with_resampler(digest) for modality, digest in digests.items()}
