"""A tower's resampler aligned in place of the tower: its rows move to where the pictures lie, the tower stays.

Of a medium's k rows the one that is nearest to a picture counts, as BLIP-2 has it (Li et al. 2023, section 3.1).
"""

from pathlib import Path
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from pandagpt_core.checkpoints import (
    RESAMPLER,
    PandaGPTFolder,
    ResamplerSpec,
    file_path,
    own_encoder,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.encoders.base import TokenEncoder, TowerTokens
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.resampling import load_resampler
from pandagpt_core.training.align.settings import AlignSettings
from pandagpt_core.training.tune.outputs import link
from pandagpt_core.training.tune.soft_tokens import fresh_spec
from pandagpt_core.types import Modality


class AlignedResampler(nn.Module):
    """Clips of one modality to rows [N, k, E]. Of its weights those of one tower's resampler are trained."""

    def __init__(
        self, encoder: TokenEncoder, modality: Modality, resampler: PerceiverResampler, spec: ResamplerSpec
    ) -> None:
        super().__init__()
        self.spec = spec
        self.trained = resampler.towers[encoder.tower_of(modality)]
        self._whole = [resampler]  # in a list, so that it is no module of this one
        self._frozen = encoder, modality

    @property
    def whole(self) -> PerceiverResampler:
        """With the resamplers of the other towers, as they were."""
        return self._whole[0]

    def forward(self, clips: Tensor, counts: list[int]) -> Tensor:
        """All clips of N items and how many each has in, the mean of each item's out."""
        seen = self._tokens(clips)
        rows = seen.vectors[:, None] + self.trained(seen.tokens, seen.keep)
        return torch.stack([part.mean(dim=0) for part in torch.split(rows, counts)])

    def _tokens(self, clips: Tensor) -> TowerTokens:
        encoder, modality = self._frozen
        cast(nn.Module, encoder).to(clips.device)
        seen = encoder.with_tokens(modality, clips)
        # Tensors of inference mode cannot be saved for a backward pass; their copies can.
        keep = None if seen.keep is None else seen.keep.clone()
        return TowerTokens(seen.vectors.clone(), seen.tokens.float().clone(), keep)


def open_resampler(path: Path, folder: PandaGPTFolder, settings: AlignSettings) -> AlignedResampler:
    """The folder's resampler, or a new one. Raises InvalidRequest, CheckpointError."""
    modality, train = Modality(settings.modality), settings.train
    if modality not in folder.recipes:
        raise InvalidRequest(f"{folder.id} takes no {modality}; it takes {', '.join(folder.recipes)}")
    spec = _spec(folder, settings)
    encoder = cast(TokenEncoder, load_encoder(path, folder, "cpu"))
    torch.manual_seed(train.seed)
    made, held = PerceiverResampler(spec, folder.projection.in_dim), load_resampler(path, folder, "cpu")
    made.requires_grad_(False)
    for name, tower in made.towers.items():
        if held is not None and not (train.start == "fresh" and name == encoder.tower_of(modality)):
            tower.load_state_dict(held.towers[name].state_dict())
    made.towers[encoder.tower_of(modality)].requires_grad_()
    return AlignedResampler(encoder, modality, made, spec)


def write_resampled(
    out: Path, base: Path, folder: PandaGPTFolder, resampler: PerceiverResampler, spec: ResamplerSpec, by: str
) -> Path:
    """The base's folder with this resampler; all else is linked."""
    out.mkdir(parents=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in resampler.state_dict().items()}
    files = {**folder.files, RESAMPLER: write_safetensors(out / RESAMPLER, state, state.__getitem__)}
    for file in folder.files:
        if file != RESAMPLER:
            link(file_path(base, folder, file), out / file)
    provenance = {**folder.provenance, "aligned": by}
    write_model_folder(
        out,
        msgspec.structs.replace(
            folder, encoder=own_encoder(folder), soft_tokens=spec, files=files, provenance=provenance
        ),
    )
    return out


def _spec(folder: PandaGPTFolder, settings: AlignSettings) -> ResamplerSpec:
    held = folder.soft_tokens
    if held is None:
        return fresh_spec(folder, settings.soft_tokens, settings.resampler)
    if held.count != settings.soft_tokens:
        raise InvalidRequest(f"soft_tokens is {settings.soft_tokens}, the resampler of {folder.id} has {held.count}")
    return held


def check_alone(folder: PandaGPTFolder) -> None:
    """Raises InvalidRequest where a resampler reads the tokens of the tower that is to be changed."""
    if folder.soft_tokens is not None:
        raise InvalidRequest(
            f"{folder.id} has a resampler that was trained on its towers' tokens as they are; align towers before "
            f"soft tokens are trained, or align the resampler with soft_tokens = {folder.soft_tokens.count}"
        )
