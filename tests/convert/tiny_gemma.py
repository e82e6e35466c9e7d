"""EmbeddingGemma 2's folder with tiny random weights, written as it is published."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, processors
from torch import nn

from pandagpt_core.convert.embedding_gemma2 import EmbeddingGemma2Folder

gemma = pytest.importorskip("transformers.models.embedding_gemma2", reason="this transformers is older")

WORDS = ["<pad>", "<eos>", "<bos>", "<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>", "a"]
IDS = {
    "boi_token_id": 3,
    "image_token_id": 4,
    "eoi_token_id": 5,
    "boa_token_id": 6,
    "audio_token_id": 7,
    "eoa_token_index": 8,
    "video_token_id": 9,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "global_head_dim": 16,
    "num_global_key_value_heads": 1,
    "vocab_size": len(WORDS),
    "hidden_size_per_layer_input": 8,
    "embedding_dim": 24,
    "sliding_window": 8,
    "sliding_window_pattern": 2,
}
VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "position_embedding_size": 1024,
}
AUDIO = {
    "model_type": "gemma4_audio",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "output_proj_dims": 32,
    "subsampling_conv_channels": [128, 4],
}
PROCESSOR: dict[str, dict[str, Any]] = {
    "image_processor": {
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "max_soft_tokens": 280,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": False,
    },
    "feature_extractor": {
        "sampling_rate": 16000,
        "feature_size": 128,
        "frame_length": 320,
        "hop_length": 160,
        "fft_length": 512,
        "min_frequency": 0.0,
        "max_frequency": 8000.0,
        "mel_floor": 0.001,
        "preemphasis": 0.0,
        "input_scale_factor": 1.0,
        "per_bin_mean": None,
        "per_bin_stddev": None,
    },
}


def tiny(**towers: Any) -> nn.Module:
    """Every weight drawn at random; the bounds of clipped layers are finite, as trained ones are."""
    torch.manual_seed(0)
    towers = {"vision_config": VISION, "audio_config": AUDIO, **towers}
    model: nn.Module = gemma.EmbeddingGemma2Model(gemma.EmbeddingGemma2Config(text_config=TEXT, **towers, **IDS))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    for name, buffer in model.named_buffers():
        if name.endswith(("_min", "_max")):
            buffer.fill_(-5.0 if name.endswith("_min") else 5.0)
    return model.eval()


def tokenizer() -> Tokenizer:
    """Words are tokens; both ends are marked, as Gemma's tokenizer does."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="a"))
    made.add_special_tokens(WORDS[:-1])
    ends = [("<bos>", 2), ("<eos>", 1)]
    made.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    return made


def write(folder: Path, model: nn.Module, prefix: str = "", **changes: dict[str, Any]) -> EmbeddingGemma2Folder:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))  # type: ignore[operator,union-attr]
    stated = {part: {**fields, **changes.get(part, {})} for part, fields in PROCESSOR.items()}
    (folder / "processor_config.json").write_text(json.dumps(stated))
    tokenizer().save(str(folder / "tokenizer.json"))
    torch.save({f"{prefix}{key}": one for key, one in model.state_dict().items()}, folder / "pytorch_model.bin")
    return EmbeddingGemma2Folder(folder)
