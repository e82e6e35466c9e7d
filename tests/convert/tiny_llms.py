"""Small random language models of other families, by transformers' own classes, in folders as their authors publish."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel

WORDS = "What is in the picture? It is a red thing, green or blue. The dog barks. 0123456789\n"
SIZES: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": None,
        "pad_token_id": None,
    }
)
QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
# By the shape of the published configs: Llama 3.1 8B and 3.2 1B, Qwen2.5 7B and 0.5B, Qwen3 8B and 0.6B.
STRETCHED = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Family:
    """template: that its folders are recognised as. control: its special tokens, the one that ends a turn last."""

    model: Callable[[Any], PreTrainedModel]
    config: Callable[..., Any]
    template: str
    control: tuple[str, ...]
    chat_template: str
    bos: str | None = None
    thinks: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llama3": Family(
            transformers.LlamaForCausalLM,
            transformers.LlamaConfig,
            "llama3",
            LLAMA,
            "{{ bos_token }}<|start_header_id|>",
            bos="<|begin_of_text|>",
            changes={"rope_parameters": {"rope_theta": 500_000.0, **STRETCHED}, "rms_norm_eps": 1e-5},
        ),
        "llama3 tied": Family(
            transformers.LlamaForCausalLM,
            transformers.LlamaConfig,
            "llama3",
            LLAMA,
            "{{ bos_token }}<|start_header_id|>",
            bos="<|begin_of_text|>",
            changes={"tie_word_embeddings": True, "head_dim": 16},
        ),
        "qwen2.5": Family(
            transformers.Qwen2ForCausalLM,
            transformers.Qwen2Config,
            "qwen2.5",
            QWEN,
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>",
        ),
        "qwen2.5 tied": Family(
            transformers.Qwen2ForCausalLM,
            transformers.Qwen2Config,
            "qwen2.5",
            QWEN,
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>",
            changes={"tie_word_embeddings": True},
        ),
        "qwen3": Family(
            transformers.Qwen3ForCausalLM,
            transformers.Qwen3Config,
            "qwen3",
            QWEN,
            "{%- if enable_thinking is defined and enable_thinking is false %}<|im_start|>",
            thinks=True,
            changes={"head_dim": 24},
        ),
        "qwen3 tied": Family(
            transformers.Qwen3ForCausalLM,
            transformers.Qwen3Config,
            "qwen3",
            QWEN,
            "{%- if enable_thinking is defined and enable_thinking is false %}<|im_start|>",
            thinks=True,
            changes={"tie_word_embeddings": True, "head_dim": 16},
        ),
    }
)


def write_llm(family: Family, folder: Path, licence: str = "apache-2.0") -> PreTrainedModel:
    """The folder, and the model that lies in it: float32, every weight drawn at random."""
    vocabulary = write_tokenizer(family, folder)
    torch.manual_seed(0)
    model = family.model(family.config(vocab_size=vocabulary, **{**SIZES, **family.changes}))
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
    model.save_pretrained(folder)
    (folder / "README.md").write_text(f"---\nlicense: {licence}\nlanguage:\n- en\n---\n# A model\n")
    (folder / "LICENSE").write_text("The terms.\n")
    return model.eval()


def write_tokenizer(family: Family, folder: Path) -> int:
    """Bytes as tokens, and the family's control tokens; how many there are."""
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={character: n for n, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in family.control])
    if family.thinks:
        tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in ("<think>", "</think>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"bos_token": family.bos, "eos_token": family.control[-1], "chat_template": family.chat_template}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return int(tokenizer.get_vocab_size())
