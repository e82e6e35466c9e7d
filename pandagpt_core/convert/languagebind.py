"""LanguageBind's folders, one a modality with a copy of the text tower each, into a model folder's encoder."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pandagpt_core.checkpoints import ENCODER, TOWERS, Shape, account, further_towers, module_shapes
from pandagpt_core.convert.llm import published_shards
from pandagpt_core.convert.merged_lora import LoraSize, is_lora, merged, plain_name
from pandagpt_core.convert.parts import Part, plan_part
from pandagpt_core.encoders.languagebind import FURTHER, LanguageBind, LanguageBindSizes, TransformerSize
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.special_tokens import read_json
from pandagpt_core.media.maps.metric import FURTHEST_M
from pandagpt_core.media.sound import fused
from pandagpt_core.media.sound.filterbank import RATE
from pandagpt_core.types import Modality

LICENCE = "MIT"  # of its repository and its published files
# Defaults of transformers' CLIP for fields that a config leaves out, with LanguageBind's own.
_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "add_time_attn": False,
    "num_frames": 1,
    "lora_r": 0,
}
# Values that a recipe relies on: by modality, the fields of a config's vision part.
_PREPARED: Mapping[Modality, Mapping[str, float]] = MappingProxyType(
    {
        Modality.AUDIO: {
            "num_mel_bins": fused.BINS,
            "target_length": fused.FRAMES,
            "audio_sample_rate": RATE,
            "audio_mean": fused.MEAN,
            "audio_std": fused.STD / 2,
        },
        Modality.DEPTH: {"max_depth": FURTHEST_M},
    }
)
_LAYERS = "vision_model.encoder.layers"
_PARTS = {"vision_model": "vision", "visual_projection": "vision", "text_model": "text", "text_projection": "text"}


@dataclass(frozen=True, slots=True)
class LanguageBindFolders:
    """`image` gives the towers of pictures and texts, each other folder that of its medium, where it is given."""

    image: Path
    video: Path | None = None
    audio: Path | None = None
    depth: Path | None = None
    thermal: Path | None = None

    @property
    def further(self) -> dict[Modality, Path]:
        return {name: getattr(self, name) for name in FURTHER if getattr(self, name) is not None}


def read_sizes(folders: LanguageBindFolders) -> LanguageBindSizes:
    """By the folders' config.json. Raises CheckpointError for one of another kind, or whose media are prepared in
    another way than by the tower's recipe."""
    config = _config(folders.image)
    further = {str(name): _vision(_prepared(name, folder)) for name, folder in folders.further.items()}
    return LanguageBindSizes.from_config(
        {
            "out": config.get("projection_dim", 512),
            "text": _text(config),
            "image": _vision(config),
            **further,
        }
    )


def plan_languagebind(folders: LanguageBindFolders, sizes: LanguageBindSizes) -> list[Part]:
    """encoder.safetensors, and a file for each further tower, after a strict account of each. LoRA is merged."""
    expected = module_shapes(LanguageBind(sizes))
    parts = [_part(folders.image, ENCODER, {"vision": "image", "text": "text"}, expected, sizes.image)]
    for name, folder in folders.further.items():
        target = TOWERS if name == Modality.VIDEO else further_towers(name)
        parts.append(_part(folder, target, {"vision": name}, expected, getattr(sizes, name)))
    return parts


def _part(
    folder: Path, target: str, towers: Mapping[str, str], expected: Mapping[str, Shape], size: TransformerSize
) -> Part:
    files = published_shards(folder)
    if len(files) != 1:
        raise CheckpointError(f"{folder.name} has its weights in {len(files)} files; LanguageBind's are in one")
    lora = _lora(folder, size)
    part = plan_part(target, files[0], _names(towers, lora is not None))
    own = {key: shape for key, shape in expected.items() if key.partition(".")[0] in towers.values()}
    account(f"{folder.name}/{files[0].name}", own, part.shapes())
    if lora is None:
        return part
    return merged(part, lora, lora.shapes(_LAYERS, size.blocks, size.width), f"{towers['vision']}.")


def _lora(folder: Path, size: TransformerSize) -> LoraSize | None:
    """The video tower's LoRA lies on the attention over time alone, the others' on all that they have."""
    found = {**_VISION, **_config(folder)["vision_config"]}
    rank, alpha = found["lora_r"], found.get("lora_alpha")
    if not rank:
        return None
    if not alpha:
        raise CheckpointError(f"{folder.name} holds LoRA of rank {rank}, and its config.json names no lora_alpha")
    return LoraSize(rank, alpha, "temporal_attn" if size.frames else "self_attn")


def _names(towers: Mapping[str, str], lora: bool) -> Callable[[str], str | None]:
    """Tower before the published name; None for the temperature, for positions that are counted, for a tower that
    another folder gives, and for matrices of LoRA where the folder has it. A name of none of these stays, for the
    account to refuse."""

    def name(key: str) -> str | None:
        key = plain_name(key) if lora else key
        if key == "logit_scale" or key.endswith(".position_ids") or (lora and is_lora(key)):
            return None
        half = _PARTS.get(key.partition(".")[0])
        if half is None:
            return key
        return f"{towers[half]}.{key}" if half in towers else None

    return name


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    if not isinstance(config.get("vision_config"), dict) or not isinstance(config.get("text_config"), dict):
        raise CheckpointError(f"{folder.name}/config.json has no vision_config and text_config, as LanguageBind's has")
    return config


def _prepared(name: Modality, folder: Path) -> dict[str, Any]:
    """The folder's config, after a check that the tower's recipe makes what it was trained with."""
    config = _config(folder)
    for field, value in _PREPARED.get(name, {}).items():
        found = config["vision_config"].get(field)
        if not isinstance(found, int | float) or not math.isclose(found, value):
            stated = "states none" if found is None else f"says {found}"
            raise CheckpointError(f"{folder.name}: {name} is read with {field} {value:g}; its config.json {stated}")
    return config


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_TEXT, **config["text_config"]}
    return {**_transformer(found), "vocab": found["vocab_size"], "positions": found["max_position_embeddings"]}


def _vision(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_VISION, **config["vision_config"]}
    frames = found["num_frames"] if found["add_time_attn"] else 0
    rows, columns = found.get("num_mel_bins"), found.get("target_length")  # of a spectrogram, in place of image_size
    sides = {"image": rows, "columns": columns} if rows and columns else {"image": found["image_size"]}
    return {**_transformer(found), **sides, "patch": found["patch_size"], "frames": frames}


def _transformer(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width": found["hidden_size"],
        "blocks": found["num_hidden_layers"],
        "heads": found["num_attention_heads"],
        "ffn": found["intermediate_size"],
        "activation": found["hidden_act"],
    }
