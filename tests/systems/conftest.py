"""The tokenizer of the golden LLaMA; SmolLM2's is every test's."""

from pathlib import Path

import pytest

from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer


@pytest.fixture(scope="session")
def vicuna(golden: Path) -> Tokenizer:
    return load_tokenizer(golden / "pandagpt-tiny" / "vicuna_tiny")
