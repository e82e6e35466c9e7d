"""The golden LLaMA, its tokenizer, and PandaGPT over both; SmolLM2's tokenizer is every test's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pandagpt_core.fusion import Projection
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.systems.prompting import Prompting
from tests.systems.tiny_pandagpt import INFO, WIDTH, Make, MeanEncoder


@pytest.fixture(scope="session")
def vicuna(golden: Path) -> Tokenizer:
    return load_tokenizer(golden / "pandagpt-tiny" / "vicuna_tiny")


@pytest.fixture(scope="session")
def llm(golden: Path) -> Llama:
    return serve(load_llama(golden / "pandagpt-tiny" / "vicuna_tiny"))


@pytest.fixture(scope="session")
def make(llm: Llama, vicuna: Tokenizer) -> Make:
    weight = torch.randn(llm.config.width, WIDTH, generator=torch.Generator().manual_seed(1))
    parts = {
        "info": INFO,
        "encoder": MeanEncoder(),
        "projection": Projection(weight, torch.ones(llm.config.width)),
        "llm": llm,
        "tokenizer": vicuna,
        "template": TEMPLATES["vicuna-v0"],
        "original_stop": False,
    }
    written = ("tokenizer", "template", "original_stop")

    def made(**changes: Any) -> PandaGPT:
        given = {**parts, **changes}
        prompting = Prompting(**{name: given.pop(name) for name in written})
        return PandaGPT(**given, prompting=prompting)

    return made
