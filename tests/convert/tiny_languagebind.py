"""LanguageBind's folders with tiny random weights, written as its authors publish them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import Tensor, nn

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
FRAMES = 8
PATCH = 28
GRID = (112 // PATCH) * (1036 // PATCH)
SOUND = {
    "num_mel_bins": 112,
    "target_length": 1036,
    "audio_sample_rate": 16000,
    "audio_mean": -4.2677393,
    "audio_std": 4.5689974,
    "patch_size": PATCH,
}


def clip(**changes: Any) -> transformers.CLIPModel:
    """transformers' CLIP of the tiny sizes, every weight drawn at random."""
    torch.manual_seed(0)
    patch = changes.pop("patch_size", 56)
    act = {"hidden_act": changes.pop("hidden_act", "gelu")}
    config = transformers.CLIPConfig(
        text_config={**TINY, **act}, vision_config={**TINY, **act, "patch_size": patch}, projection_dim=16
    )
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def write(folder: Path, model: transformers.CLIPModel, state: dict[str, Tensor], **vision: Any) -> Path:
    """As LanguageBind publishes: a pickled file, and a config whose vision part has its own fields."""
    folder.mkdir()
    config = model.config.to_dict()
    config["vision_config"] |= {"add_time_attn": False, "num_frames": 1, "lora_r": 0, **vision}
    (folder / "config.json").write_text(json.dumps(config, default=str))
    counted = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save({**state, **counted}, folder / "pytorch_model.bin")
    return folder


def with_time(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The video tower's further weights, drawn at random."""
    torch.manual_seed(1)
    added = {}
    for layer in range(TINY["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}"
        added[f"{prefix}.temporal_embedding"] = torch.randn(1, FRAMES, 32) * 0.3
        for name in ("weight", "bias"):
            added[f"{prefix}.temporal_layer_norm1.{name}"] = torch.randn(32)
            for part in "qkv":
                shape = (32, 32) if name == "weight" else (32,)
                added[f"{prefix}.temporal_attn.{part}_proj.{name}"] = torch.randn(shape) * 0.2
            added[f"{prefix}.temporal_attn.out_proj.{name}"] = torch.randn(shape) * 0.2
    return {**state, **added}


def listening(patch: int = PATCH) -> transformers.CLIPModel:
    """transformers' CLIP whose vision tower has the positions of a spectrogram."""
    model = clip(patch_size=patch)
    model.vision_model.embeddings.position_embedding = nn.Embedding(GRID + 1, 32)
    nn.init.normal_(model.vision_model.embeddings.position_embedding.weight, std=0.1)
    return model.eval()


def tuned(
    rank: int = 4, targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
) -> transformers.CLIPModel:
    """With peft around the layers of its vision tower, as LanguageBind wraps them; no matrix is zero."""
    model = clip()
    config = peft.LoraConfig(r=rank, lora_alpha=16, target_modules=list(targets), bias="none")
    model.vision_model.encoder = peft.get_peft_model(model.vision_model.encoder, config)
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def older(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names that peft gave when LanguageBind was published."""
    return {key.replace(".base_layer.", "."): one for key, one in state.items()}


def languagebind_folders(folder: Path) -> dict[str, Path]:
    """Folders of all its towers below `folder`, by the options of `pandagpt convert`."""
    model, sound = clip(), listening()
    time = {"add_time_attn": True, "num_frames": FRAMES}
    lora = {"lora_r": 4, "lora_alpha": 16}
    depth = write(folder / "LanguageBind_Depth", model, older(tuned().state_dict()), max_depth=10, **lora)
    return {
        "--languagebind": write(folder / "LanguageBind_Image", model, model.state_dict()),
        "--languagebind-video": write(folder / "LanguageBind_Video_FT", model, with_time(model.state_dict()), **time),
        "--languagebind-audio": write(folder / "LanguageBind_Audio_FT", sound, sound.state_dict(), **SOUND),
        "--languagebind-depth": depth,
        "--languagebind-thermal": write(folder / "LanguageBind_Thermal", model, tuned().state_dict(), **lora),
    }
