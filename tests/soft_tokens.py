"""A copy of a PandaGPT folder whose media have several soft tokens, by a resampler of random weights."""

from pathlib import Path

import msgspec
import torch

from pandagpt_core.checkpoints import (
    RESAMPLER,
    PandaGPTFolder,
    ResamplerSpec,
    file_digest,
    read_folder_of,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.encoders.sizes import ImageBindSizes
from pandagpt_core.training.tune.outputs import link


def spec_of(folder: PandaGPTFolder, count: int = 4) -> ResamplerSpec:
    sizes = ImageBindSizes.from_config(folder.encoder.sizes)
    towers = {name: sizes.token_width(name) for name in sizes.towers}
    return ResamplerSpec(count=count, width=24, heads=4, layers=2, towers=towers)


def random_resampler(spec: ResamplerSpec, out: int, seed: int = 0) -> PerceiverResampler:
    """A resampler whose last layers are random too, as if it were trained."""
    torch.manual_seed(seed)
    made = PerceiverResampler(spec, out).requires_grad_(False)
    for name, parameter in made.named_parameters():
        if ".out." in name:
            parameter.normal_(std=0.5)
    return made


def with_soft_tokens(base: Path, target: Path, count: int = 4, seed: int = 0, name: str = "soft") -> Path:
    """The folder `target`: all files of `base`, and a resampler."""
    target.mkdir(parents=True, exist_ok=True)
    folder = read_folder_of(base, PandaGPTFolder)
    for file in folder.files:
        link(base / file, target / file)
    spec = spec_of(folder, count)
    state = random_resampler(spec, folder.projection.in_dim, seed).state_dict()
    write_safetensors(target / RESAMPLER, state, state.__getitem__)
    files = {**folder.files, RESAMPLER: file_digest(target / RESAMPLER)}
    write_model_folder(target, msgspec.structs.replace(folder, id=name, soft_tokens=spec, files=files))
    return target
