"""Small models and vocabularies made on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama

SENTENCES = ["the panda eats bamboo", "a dog barks at 12 cats", "what is in the image? a car.", "hello world"]


@pytest.fixture(scope="session")
def tiny_config() -> LlamaConfig:
    return LlamaConfig(vocab=96, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, max_positions=128)


@pytest.fixture
def make_llama(tiny_config: LlamaConfig) -> Callable[..., Llama]:
    def make(config: LlamaConfig = tiny_config, seed: int = 0) -> Llama:
        torch.manual_seed(seed)
        llama = Llama(config)
        for name, parameter in llama.named_parameters():
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("norm.weight") else 0.0, std=0.2)
        return llama.requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def piece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sentencepiece model of LLaMA's options: byte fallback, dummy prefix, split digits."""
    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder
