"""EmbeddingGemma 2: pictures and sounds into one space (Google 2026), by transformers' own classes.

A tower makes soft tokens of a medium. They stand between a prompt's tokens in a text encoder that attends both ways.
The mean of what it gives for all of them is the embedding, of length one.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.encoders.base import TowerPart
from pandagpt_core.errors import CheckpointError, UnsupportedModality
from pandagpt_core.media.pictures.patch_layout import POOL, VALUES
from pandagpt_core.media.sound.magnitude_layout import ABSENT, BINS, VALID
from pandagpt_core.modalities import check_recipes
from pandagpt_core.types import Modality

RECIPES: Mapping[Modality, str] = MappingProxyType(
    {Modality.IMAGE: "embedding-gemma2-image-v1", Modality.AUDIO: "embedding-gemma2-audio-v1"}
)
check_recipes(RECIPES)
# The parts of the model that a modality passes, by the beginnings of their weights' names.
PARTS: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        Modality.IMAGE: ("vision_tower.", "embed_vision.", "language_model."),
        Modality.AUDIO: ("audio_tower.", "embed_audio.", "language_model."),
    }
)
CONFIG_OF: Mapping[Modality, str] = MappingProxyType({Modality.IMAGE: "vision_config", Modality.AUDIO: "audio_config"})


class TokensAround(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Token ids about a medium's soft tokens, each of which has the id `soft`."""

    before: list[int]
    soft: int
    after: list[int]


class EmbeddingGemma2Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`model` is the published config.json; a modality without a prompt has no tower."""

    model: dict[str, Any]
    prompts: dict[Modality, TokensAround]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "EmbeddingGemma2Sizes":
        """Of a model folder's `encoder.sizes`. Raises CheckpointError."""
        try:
            return msgspec.convert(config, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"EmbeddingGemma 2's sizes: {error}") from error

    def to_config(self) -> dict[str, Any]:
        config: dict[str, Any] = msgspec.to_builtins(self)
        return config

    @property
    def out(self) -> int:
        return int(self.model["text_config"]["embedding_dim"])

    @property
    def recipes(self) -> dict[Modality, str]:
        return {modality: recipe for modality, recipe in RECIPES.items() if modality in self.prompts}


class EmbeddingGemma2(nn.Module):
    """The towers that the sizes have prompts for, and the text encoder, as `model` with its published names."""

    def __init__(self, sizes: EmbeddingGemma2Sizes) -> None:
        super().__init__()
        self.dim, self.recipes, self._sizes = sizes.out, sizes.recipes, sizes
        self.model = unloaded_model(sizes.model, set(sizes.prompts))
        self.eval()
        self.requires_grad_(False)

    def part(self, modality: Modality) -> TowerPart:
        """A tower, and the text encoder that all share."""
        facts = {"config": self._sizes.model, "prompt": msgspec.to_builtins(self._sizes.prompts[modality])}
        return TowerPart(lambda key: key.startswith(PARTS[modality]), facts)

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: Tensor) -> Tensor:
        """Media as their recipes make them, one by one, since each has as many tokens as it needs; [N, dim]."""
        if modality not in self.recipes:
            raise UnsupportedModality(f"the model has no tower for {modality}")
        read = _picture if modality == Modality.IMAGE else _sound
        return torch.stack([self._embedded(self._sizes.prompts[modality], *read(clip)) for clip in clips])

    def _embedded(self, prompt: TokensAround, tokens: int, inputs: Mapping[str, Tensor]) -> Tensor:
        ids = [*prompt.before, *[prompt.soft] * tokens, *prompt.after]
        device = next(iter(inputs.values())).device
        hidden = self.model(input_ids=torch.tensor([ids], device=device), **inputs).last_hidden_state  # [1, T, dim]
        return F.normalize(hidden[0].float().mean(dim=0), dim=-1)


def _picture(clip: Tensor) -> tuple[int, dict[str, Tensor]]:
    """Soft tokens, and what the model takes, of one [2520, 770]."""
    values, places = clip[:, :VALUES], clip[:, VALUES:].long()
    patches = int((places >= 0).all(dim=-1).sum())
    return patches // POOL**2, {"pixel_values": values[None], "image_position_ids": places[None]}


def _sound(clip: Tensor) -> tuple[int, dict[str, Tensor]]:
    """The same of one [2999, 129]: two convolutions of stride 2 leave every fourth frame."""
    framed = clip[clip[:, BINS] != ABSENT]
    is_valid = framed[:, BINS] == VALID
    tokens = int(is_valid[::2][::2].sum())
    return tokens, {"input_features": framed[None, :, :BINS], "input_features_mask": is_valid[None]}


def unloaded_model(config: Mapping[str, Any], modalities: set[Modality]) -> nn.Module:
    """transformers' model with those towers, its weights not yet read. Raises CheckpointError where it has none."""
    try:
        # Only folders of this kind need transformers, which is large.
        from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model
    except ImportError as error:
        raise CheckpointError(
            "EmbeddingGemma 2 needs transformers 5.23 or newer: pip install 'pandagpt[train]'"
        ) from error
    absent = {CONFIG_OF[modality]: None for modality in RECIPES if modality not in modalities}
    model: nn.Module = EmbeddingGemma2Model(EmbeddingGemma2Config.from_dict({**config, **absent}))
    return model
