"""The soft tokens of a run's model: one a medium as in the paper, or k by a resampler that is trained."""

from pathlib import Path

import torch

from pandagpt_core.checkpoints import RESAMPLER, ModelFolder, PandaGPTFolder, ResamplerSpec
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.systems.encoder import token_towers
from pandagpt_core.systems.resampling import load_resampler
from pandagpt_core.training.tune.settings import ResamplerSettings, TuneSettings


def resampler_spec(folder: ModelFolder, settings: TuneSettings) -> ResamplerSpec | None:
    """Of the resampler that the trained folder is to have; None for one soft token a medium.

    Raises InvalidRequest for a folder that cannot have one, and for another number than the one that is trained on.
    """
    if not isinstance(folder, PandaGPTFolder):
        if settings.soft_tokens:
            raise InvalidRequest(f"soft_tokens is for folders of the system pandagpt; {folder.id} is {folder.system}")
        return None
    count = settings.soft_tokens or (1 if folder.soft_tokens is None else folder.soft_tokens.count)
    if count == 1:
        return None
    if settings.output.original:
        raise InvalidRequest("output.original has no place for a resampler: PandaGPT's own file is of one soft token")
    if not _goes_on(folder, settings):
        keeps_sizes = folder.soft_tokens is not None and not settings.soft_tokens
        return folder.soft_tokens if keeps_sizes else fresh_spec(folder, count, settings.resampler)
    assert folder.soft_tokens is not None
    if count != folder.soft_tokens.count:
        raise InvalidRequest(
            f"soft_tokens is {count}, the model folder's resampler that lora.start goes on with has "
            f"{folder.soft_tokens.count}"
        )
    return folder.soft_tokens


def fresh_spec(folder: PandaGPTFolder, count: int, sizes: ResamplerSettings) -> ResamplerSpec:
    """A new resampler's, over all towers of the folder. Raises InvalidRequest, CheckpointError."""
    if folder.one_vector_parts:
        raise InvalidRequest(
            f"soft_tokens is {count}; {folder.id} has {' and '.join(folder.one_vector_parts)}, which read one vector "
            "a medium"
        )
    if sizes.width % sizes.heads:
        raise InvalidRequest(f"resampler.width is {sizes.width}, no multiple of resampler.heads, {sizes.heads}")
    towers = dict(token_towers(folder).token_widths)
    return ResamplerSpec(count=count, width=sizes.width, heads=sizes.heads, layers=sizes.layers, towers=towers)


def trainable_resampler(
    path: Path, folder: ModelFolder, spec: ResamplerSpec | None, settings: TuneSettings
) -> PerceiverResampler | None:
    """The folder's where the run goes on with it, else one drawn by torch's generator. Float32, on the CPU."""
    if spec is None:
        return None
    assert isinstance(folder, PandaGPTFolder)
    if not _goes_on(folder, settings):
        return PerceiverResampler(spec, folder.projection.in_dim)
    loaded = load_resampler(path, folder, "cpu")
    assert loaded is not None, f"{RESAMPLER} belongs to soft_tokens"
    return trainable(loaded)


def trainable(resampler: PerceiverResampler) -> PerceiverResampler:
    """Weights that were mapped from a file get memory of their own."""
    for parameter in resampler.parameters():
        parameter.data = parameter.data.clone()
        parameter.requires_grad_()
    torch.nn.Module.train(resampler)
    return resampler


def _goes_on(folder: PandaGPTFolder, settings: TuneSettings) -> bool:
    return settings.lora.start == "folder" and folder.soft_tokens is not None
