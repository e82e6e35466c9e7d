"""EmbeddingGemma 2's folder into a model folder's encoder."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer

from pandagpt_core.checkpoints import ENCODER, account, module_shapes
from pandagpt_core.convert.llm import published_shards
from pandagpt_core.convert.parts import Part, plan_part
from pandagpt_core.encoders.embedding_gemma2 import CONFIG_OF, PARTS, EmbeddingGemma2Sizes, TokensAround, unloaded_model
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.special_tokens import read_json
from pandagpt_core.media.pictures import patch_layout
from pandagpt_core.media.sound import magnitude_layout
from pandagpt_core.types import Modality

LICENCE = "Apache-2.0"  # of its published files
KIND = "embedding_gemma2"
# Values that a recipe relies on: by modality, a part of processor_config.json and its fields.
_PREPARED: Mapping[Modality, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        Modality.IMAGE: (
            "image_processor",
            {
                "patch_size": patch_layout.PATCH,
                "pooling_kernel_size": patch_layout.POOL,
                "max_soft_tokens": patch_layout.TOKENS,
                "rescale_factor": 1 / 255,
                "do_normalize": False,
            },
        ),
        Modality.AUDIO: (
            "feature_extractor",
            {
                "sampling_rate": magnitude_layout.RATE,
                "feature_size": magnitude_layout.BINS,
                "frame_length": magnitude_layout.WINDOW,
                "hop_length": magnitude_layout.HOP,
                "fft_length": magnitude_layout.FFT,
                "min_frequency": 0.0,
                "max_frequency": magnitude_layout.RATE / 2,
                "mel_floor": magnitude_layout.FLOOR,
                "preemphasis": 0.0,
                "input_scale_factor": 1.0,
                "per_bin_mean": None,
                "per_bin_stddev": None,
            },
        ),
    }
)
# Fields of config.json with the ids of the tokens that begin, are and end a medium.
_TOKENS: Mapping[Modality, tuple[str, str, str]] = MappingProxyType(
    {
        Modality.IMAGE: ("boi_token_id", "image_token_id", "eoi_token_id"),
        Modality.AUDIO: ("boa_token_id", "audio_token_id", "eoa_token_index"),
    }
)


@dataclass(frozen=True, slots=True)
class EmbeddingGemma2Folder:
    """`path` holds config.json, processor_config.json, tokenizer.json and one file of weights."""

    path: Path


def read_sizes(folder: EmbeddingGemma2Folder) -> EmbeddingGemma2Sizes:
    """Raises CheckpointError for a folder of another kind, or whose media are not prepared as by the recipes."""
    config = read_json(folder.path / "config.json")
    if config.get("model_type") != KIND:
        raise CheckpointError(f"{folder.path.name}/config.json is of {config.get('model_type')}, not of {KIND}")
    towers = [modality for modality, field in CONFIG_OF.items() if config.get(field) is not None]
    if not towers:
        raise CheckpointError(
            f"{folder.path.name} has a tower for texts alone: none of {', '.join(CONFIG_OF.values())}"
        )
    for modality in towers:
        _check_prepared(modality, folder.path)
    tokenizer = _tokenizer(folder.path)
    return EmbeddingGemma2Sizes(config, {modality: _prompt(modality, config, tokenizer) for modality in towers})


def plan_embedding_gemma2(folder: EmbeddingGemma2Folder, sizes: EmbeddingGemma2Sizes) -> list[Part]:
    """encoder.safetensors under the published names, after a strict account. Towers for other media are left out."""
    files = published_shards(folder.path)
    if len(files) != 1:
        raise CheckpointError(
            f"{folder.path.name} has its weights in {len(files)} files; EmbeddingGemma 2's are in one"
        )
    with torch.device("meta"):
        expected = module_shapes(unloaded_model(sizes.model, set(sizes.prompts)))
    part = plan_part(ENCODER, files[0], _names(sizes))
    account(f"{folder.path.name}/{files[0].name}", expected, part.shapes())
    return [part]


def _names(sizes: EmbeddingGemma2Sizes) -> Callable[[str], str | None]:
    held = tuple({name for modality in sizes.prompts for name in PARTS[modality]})
    known = tuple({name for names in PARTS.values() for name in names})

    def name(key: str) -> str | None:
        key = key.removeprefix("model.")
        return None if key.startswith(known) and not key.startswith(held) else key

    return name


def _check_prepared(modality: Modality, folder: Path) -> None:
    part, fields = _PREPARED[modality]
    stated = read_json(folder / "processor_config.json").get(part)
    if not isinstance(stated, dict):
        raise CheckpointError(f"{folder.name}/processor_config.json has no {part}")
    for field, wanted in fields.items():
        found = stated.get(field)
        if not _is_equal(found, wanted):
            raise CheckpointError(f"{folder.name}: {modality} is read with {field} {wanted}; {part} says {found}")


def _is_equal(found: Any, wanted: Any) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (found, wanted))
    return math.isclose(found, wanted) if numbers else found is wanted


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no narrower one
        raise CheckpointError(f"{folder.name}/tokenizer.json cannot be read: {error}") from error


def _prompt(modality: Modality, config: Mapping[str, Any], tokenizer: Tokenizer) -> TokensAround:
    """The tokens around a medium alone, with those that the tokenizer adds at both ends."""
    ids = [config.get(field) for field in _TOKENS[modality]]
    words = [tokenizer.id_to_token(one) for one in ids if isinstance(one, int)]
    if len(words) != len(ids) or None in words:
        raise CheckpointError(f"config.json's {', '.join(_TOKENS[modality])} name no tokens of tokenizer.json")
    found: list[int] = tokenizer.encode("".join(map(str, words))).ids
    soft = int(config[_TOKENS[modality][1]])
    if found.count(soft) != 1:
        raise CheckpointError(f"tokenizer.json makes {found.count(soft)} soft tokens of one {modality}")
    at = found.index(soft)
    return TokensAround(found[:at], soft, found[at + 1 :])
