"""A folder's resampler, held against the towers that its tokens come from, and its part in the names of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch

from pandagpt_core.checkpoints import RESAMPLER, ModelFolder, PandaGPTFolder, load_module
from pandagpt_core.encoders.base import Encoder, TokenEncoder
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import CheckpointError
from pandagpt_core.types import Modality


def load_resampler(path: Path, folder: PandaGPTFolder, encoder: Encoder, device: str) -> PerceiverResampler | None:
    """None for a folder with one soft token a medium. Raises CheckpointError, and KeyMismatch for weights that do not
    fit."""
    spec = folder.soft_tokens
    if spec is None:
        return None
    widths = token_widths(folder, encoder)
    if spec.towers != widths:
        raise CheckpointError(f"soft_tokens: the resampler is for tokens of {spec.towers}, the towers give {widths}")
    with torch.device("meta"):
        resampler = PerceiverResampler(spec, folder.projection.in_dim)
    load_module(resampler, path / RESAMPLER, device=device, dtype=torch.float32)
    return resampler.eval()


def token_widths(folder: ModelFolder, encoder: Encoder) -> dict[str, int]:
    """By tower. Raises CheckpointError for an encoder whose towers give no tokens."""
    if not hasattr(encoder, "with_tokens"):
        raise CheckpointError(f"soft_tokens: the encoder {folder.encoder.kind} gives no tokens before its pooling")
    return dict(cast(TokenEncoder, encoder).token_widths)


def with_resampler(folder: PandaGPTFolder, digests: Mapping[Modality, str]) -> dict[Modality, str]:
    """The digests of towers, made those of the rows that the folder gives."""
    return {modality: folder.with_resampler(digest) for modality, digest in digests.items()}
