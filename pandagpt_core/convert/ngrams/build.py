"""A table of n-grams for a model folder, out of the model's own answers."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from pandagpt_core.checkpoints import (
    CONFIG,
    NGRAMS,
    read_model_folder,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.convert.ngrams.conversations import self_asked
from pandagpt_core.convert.ngrams.counting import count_ngrams
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.systems import LoadOptions, load_system

AT_ONCE = 32  # sequences
CONTEXT = 512  # tokens of a question and its answer

CountTokens = Callable[[int], None]  # tokens of one more answer


@dataclass(frozen=True, slots=True)
class BuiltTable:
    """answers and tokens: counted. contexts: in the table."""

    answers: int
    tokens: int
    contexts: int


def build_ngrams(model: Path, tokens: int, *, device: str = "cpu", progress: CountTokens) -> BuiltTable:
    """Let the model answer questions of its own until it wrote so many tokens, and count them into its folder's table.

    A table that it has is replaced. Raises CheckpointError.
    """
    read_model_folder(model)  # before anything is loaded
    system = load_system(model, LoadOptions(device=device, precision="auto"))
    config = EngineConfig(max_running=AT_ONCE, max_model_len=min(CONTEXT, system.info.max_model_len), prefix_blocks=0)
    answers = _enough(self_asked(system, Engine(system.llm, system.tokenizer, config)), tokens, progress)
    arrays = {name: torch.from_numpy(array) for name, array in count_ngrams(answers).items()}
    put_table(model, arrays)
    contexts = sum(len(array) for name, array in arrays.items() if name.startswith("contexts"))
    return BuiltTable(len(answers), sum(map(len, answers)), contexts)


def _enough(answers: Iterable[list[int]], tokens: int, progress: CountTokens) -> list[list[int]]:
    held, count = list[list[int]](), 0
    for answer in answers:
        held.append(answer)
        count += len(answer)
        progress(len(answer))
        if count >= tokens:
            break
    return held


def put_table(model: Path, arrays: Mapping[str, torch.Tensor]) -> None:
    """Write the table, then config.json, by which it begins to count. Both under another name first."""
    with tempfile.TemporaryDirectory(prefix=".ngrams-", dir=model) as making:
        part = Path(making)
        digest = write_safetensors(part / NGRAMS, arrays, arrays.__getitem__)
        folder = read_model_folder(model)
        write_model_folder(part, msgspec.structs.replace(folder, files={**folder.files, NGRAMS: digest}))
        os.replace(part / NGRAMS, model / NGRAMS)
        os.replace(part / CONFIG, model / CONFIG)
