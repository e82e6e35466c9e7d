"""LanguageBind's folders with tiny random weights, written as its authors publish them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
FRAMES = 8


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
