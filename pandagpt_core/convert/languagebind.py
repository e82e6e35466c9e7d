"""LanguageBind's folders, one a modality with a copy of the text tower each, into a model folder's encoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandagpt_core.checkpoints import ENCODER, TOWERS, Shape, account, module_shapes
from pandagpt_core.convert.llm import shard_files
from pandagpt_core.convert.parts import Part, plan_part
from pandagpt_core.encoders.languagebind import LanguageBind, LanguageBindSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.special_tokens import read_json

LICENCE = "MIT"  # of its repository and its published files
# What transformers' CLIP has for what a config leaves out, and LanguageBind's own beside it.
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
_PARTS = {"vision_model": "vision", "visual_projection": "vision", "text_model": "text", "text_projection": "text"}


@dataclass(frozen=True, slots=True)
class LanguageBindFolders:
    """`image` gives the towers of pictures and texts, `video` that of films, or none."""

    image: Path
    video: Path | None = None


def read_sizes(folders: LanguageBindFolders) -> LanguageBindSizes:
    """By the folders' config.json. Raises CheckpointError for one of another kind or with LoRA that is not merged."""
    config = _config(folders.image)
    video = None if folders.video is None else _config(folders.video)
    return LanguageBindSizes.from_config(
        {
            "out": config.get("projection_dim", 512),
            "text": _text(config),
            "image": _vision(folders.image, config),
            "video": None if folders.video is None or video is None else _vision(folders.video, video),
        }
    )


def plan_languagebind(folders: LanguageBindFolders, sizes: LanguageBindSizes) -> list[Part]:
    """encoder.safetensors, and towers.safetensors where there is a tower for films, after a strict account of each."""
    expected = module_shapes(LanguageBind(sizes))
    parts = [_part(folders.image, ENCODER, {"vision": "image", "text": "text"}, expected)]
    if folders.video is not None:
        parts.append(_part(folders.video, TOWERS, {"vision": "video"}, expected))
    return parts


def _part(folder: Path, target: str, towers: Mapping[str, str], expected: Mapping[str, Shape]) -> Part:
    files = shard_files(folder)
    if len(files) != 1:
        raise CheckpointError(f"{folder.name} has its weights in {len(files)} files; LanguageBind's are in one")
    part = plan_part(target, files[0], _names(towers))
    own = {key: shape for key, shape in expected.items() if key.partition(".")[0] in towers.values()}
    account(f"{folder.name}/{files[0].name}", own, part.shapes())
    return part


def _names(towers: Mapping[str, str]) -> Callable[[str], str | None]:
    """Tower before the published name; None for the temperature, for positions that are counted, and for a tower that
    another folder gives. A name of none of these stays, for the account to refuse."""

    def name(key: str) -> str | None:
        if key == "logit_scale" or key.endswith(".position_ids"):
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


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_TEXT, **config["text_config"]}
    return {**_transformer(found), "vocab": found["vocab_size"], "positions": found["max_position_embeddings"]}


def _vision(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_VISION, **config["vision_config"]}
    if found["lora_r"]:
        raise CheckpointError(
            f"{folder.name} holds LoRA of rank {found['lora_r']} beside its weights; take the one that is fully tuned"
        )
    frames = found["num_frames"] if found["add_time_attn"] else 0
    return {**_transformer(found), "image": found["image_size"], "patch": found["patch_size"], "frames": frames}


def _transformer(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width": found["hidden_size"],
        "blocks": found["num_hidden_layers"],
        "heads": found["num_attention_heads"],
        "ffn": found["intermediate_size"],
        "activation": found["hidden_act"],
    }
