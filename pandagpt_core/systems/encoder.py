"""From config.json's `encoder` to the towers it names, with their weights, on a device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from pandagpt_core.autotune import Listen, ignore
from pandagpt_core.checkpoints import (
    ENCODER,
    ModelFolder,
    account,
    file_path,
    load_module,
    module_shapes,
    read_tensors,
)
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.base import Encoder, StaticEncoder, TokenEncoder
from pandagpt_core.encoders.embedding_gemma2 import EmbeddingGemma2, EmbeddingGemma2Sizes
from pandagpt_core.encoders.eva_vit import EvaSizes, EvaVit
from pandagpt_core.encoders.grid.encoder import GridEncoder
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.languagebind import LanguageBind, LanguageBindSizes
from pandagpt_core.encoders.mapped import lay_tables_apart
from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.precision import autocast_eva_vit, autocast_towers
from pandagpt_core.encoders.sizes import TOWER_OF, ImageBindSizes
from pandagpt_core.encoders.static.choice import choose_static
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.autotune import RunnerName
from pandagpt_core.modalities import same_form

EncoderLoader = Callable[[Path, ModelFolder, str, list[Path]], Encoder]  # the last: of towers beside the others


@dataclass(frozen=True, slots=True)
class TowerOptions:
    """Options of the towers' computing.

    exact: in float32 throughout, by torch; else products are bfloat16 where that pays (`encoders.precision`), and
        towers of one shape are computed by what suits here (`encoders.static`). Each choice is reported.
    runner: "torch" leaves OpenVINO out. cache: a folder for what the next load need not make again.
    """

    exact: bool = True
    report: Listen = ignore
    runner: RunnerName = "auto"
    cache: Path | None = None


EXACT = TowerOptions()


def load_encoder(
    path: Path,
    folder: ModelFolder,
    device: str,
    options: TowerOptions = EXACT,
) -> Encoder:
    """The encoder of a model folder. Raises CheckpointError if its recipes are not the config's."""
    own = [path / name for name in folder.tower_files]
    encoder = LOADERS[folder.encoder.kind](file_path(path, folder, ENCODER), folder, device, own)
    for modality, recipe in folder.recipes.items():
        wants = encoder.recipes.get(modality)
        if wants is None or not same_form(modality, recipe, wants):
            named = wants or "no such medium"
            raise CheckpointError(f"the config prepares {modality} by {recipe}, the encoder wants {named}")
    if isinstance(encoder, nn.Module):
        lay_tables_apart(encoder)
    if not options.exact:
        _suit(encoder, folder.encoder.kind, options)
    return encoder


def _suit(encoder: Encoder, kind: str, options: TowerOptions) -> None:
    if kind in AUTOCAST:
        AUTOCAST[kind](encoder, options.report)
    if hasattr(encoder, "static_towers"):
        towers = cast(StaticEncoder, encoder).static_towers()
        choose_static(towers, options.runner, options.cache, options.report)


def token_towers(folder: ModelFolder) -> TokenEncoder:
    """The towers of a folder without their weights, for the shapes of their tokens.

    Raises CheckpointError for an encoder whose towers give no tokens.
    """
    if folder.encoder.kind not in TOKEN_TOWERS:
        raise CheckpointError(f"soft_tokens: the encoder {folder.encoder.kind} gives no tokens before its pooling")
    return TOKEN_TOWERS[folder.encoder.kind](folder)


def _imagebind(weights: Path, folder: ModelFolder, device: str, _own: list[Path]) -> Encoder:
    """Only the towers that the folder's recipes feed are built."""
    model = _imagebind_towers(folder)
    load_module(model, weights, device=device, dtype=torch.float32, unused=model.is_unbuilt)
    return model


def _imagebind_towers(folder: ModelFolder) -> ImageBind:
    sizes = ImageBindSizes.from_config(folder.encoder.sizes)
    towers = {TOWER_OF[modality] for modality in folder.recipes}
    return ImageBind(sizes, variant=folder.encoder.variant, towers=towers)


def _languagebind_towers(folder: ModelFolder) -> LanguageBind:
    return LanguageBind(LanguageBindSizes.from_config(folder.encoder.sizes))


def _languagebind(weights: Path, folder: ModelFolder, device: str, own: list[Path]) -> Encoder:
    """Towers other than those of pictures and texts lie in a file each."""
    model = _languagebind_towers(folder)
    state = {
        key: one for file in (weights, *own) for key, one in read_tensors(file, device=device, dtype=torch.float32)
    }
    account("LanguageBind's towers", module_shapes(model), {key: tuple(one.shape) for key, one in state.items()})
    model.load_state_dict(state, strict=True, assign=True)
    model.requires_grad_(False)
    return model


def _embedding_gemma2(weights: Path, folder: ModelFolder, device: str, _own: list[Path]) -> Encoder:
    encoder = EmbeddingGemma2(EmbeddingGemma2Sizes.from_config(folder.encoder.sizes)).to(device)
    load_module(encoder.model, weights, device=device, dtype=torch.float32)
    return encoder


def _autocast_imagebind(encoder: Encoder, report: Listen) -> None:
    assert isinstance(encoder, ImageBind)
    autocast_towers(encoder, report)


def _eva_vit(weights: Path, folder: ModelFolder, device: str, _own: list[Path]) -> Encoder:
    model = EvaVit(EvaSizes.from_config(folder.encoder.sizes))
    load_module(model, weights, device=device, dtype=torch.float32)
    return model


def _autocast_eva_vit(encoder: Encoder, report: Listen) -> None:
    assert isinstance(encoder, EvaVit)
    autocast_eva_vit(encoder, report)


def _grid(weights: Path, folder: ModelFolder, device: str, _own: list[Path]) -> Encoder:
    with init_empty_weights():
        model = GridEncoder(GridSizes.from_config(folder.encoder.sizes))
    load_module(model, weights, device=device, dtype=torch.float32)
    return model


def _mini(weights: Path, folder: ModelFolder, device: str, own: list[Path]) -> Encoder:
    """`MiniEncoder.load(sizes, state)`: it builds the towers of its sizes and accounts for the state's keys itself."""
    state = {
        key: one for file in (weights, *own) for key, one in read_tensors(file, device=device, dtype=torch.float32)
    }
    return MiniEncoder.load(folder.encoder.sizes, state)


# By the folder schema's kinds.
LOADERS: Mapping[str, EncoderLoader] = MappingProxyType(
    {
        "imagebind": _imagebind,
        "languagebind": _languagebind,
        "embedding-gemma2": _embedding_gemma2,
        "mini": _mini,
        "eva-vit": _eva_vit,
        "grid": _grid,
    }
)
TOKEN_TOWERS: Mapping[str, Callable[[ModelFolder], TokenEncoder]] = MappingProxyType(
    {"imagebind": _imagebind_towers, "languagebind": _languagebind_towers}
)
AUTOCAST: Mapping[str, Callable[[Encoder, Listen], None]] = MappingProxyType(
    {"imagebind": _autocast_imagebind, "eva-vit": _autocast_eva_vit}
)
