"""Folders of an encoder, an adapter with a projection, and a Hugging Face LLaMA: PandaGPT's and MiniGPT-v2's."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    LoraSpec,
    ProjectionSpec,
    Shape,
    check_model_folder,
    file_digest,
    write_safetensors,
)
from pandagpt_core.checkpoints.systems import Folder
from pandagpt_core.convert.atomic_folder import ProgressOf, write_folder
from pandagpt_core.convert.llm import FOLDER, copy_texts, write_index
from pandagpt_core.convert.parts import ByteProgress, Part, write_part
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig


@dataclass(frozen=True, slots=True)
class ProjectedPlan:
    """Plan of the conversion before a byte is written; every account of keys has been passed. Without an adapter's file
    the folder is one to train."""

    encoder: Part
    adapter: Part | None
    llm: list[Part]
    projection: ProjectionSpec
    lora: LoraSpec | None
    config: LlamaConfig
    towers: tuple[Part, ...] = ()  # of the encoder, in files of their own

    @property
    def parts(self) -> list[Part]:
        return [part for part in (self.encoder, *self.towers, self.adapter, *self.llm) if part is not None]

    def size(self, dtype: torch.dtype | None) -> int:
        """Bytes of weights to be written."""
        return sum(part.size(dtype) for part in self.parts)


def write_projected(
    out: Path, llm: Path, plan: ProjectedPlan, described: Folder, dtype: torch.dtype | None, progress: ProgressOf
) -> Folder:
    """The folder `out`; `described` is its config.json but for `files`. `llm`: the language model's own folder."""
    check_model_folder(described)

    def fill(folder: Path, advance: ByteProgress) -> Folder:
        return msgspec.structs.replace(described, files=_write_files(folder, llm, plan, dtype, advance))

    return write_folder(out, plan.size(dtype), fill, progress)


def _write_files(
    folder: Path, llm: Path, plan: ProjectedPlan, dtype: torch.dtype | None, progress: ByteProgress
) -> dict[str, str]:
    """Write all files but config.json; returns the SHA-256 of each by its name."""
    (folder / FOLDER).mkdir()
    files = {part.target: write_part(folder, part, dtype, progress) for part in plan.parts}
    if plan.adapter is None:
        fresh = _untrained(plan.projection)
        files[ADAPTER] = write_safetensors(folder / ADAPTER, fresh, fresh.__getitem__)
    size = sum(part.size(dtype) for part in plan.llm)
    texts = [*write_index(folder, plan.llm, size), *copy_texts(llm, folder)]
    return {**files, **{name: file_digest(folder / name) for name in texts}}


def lora_rank(what: str, adapter: Mapping[str, Shape]) -> int:
    """The rank that most of the A matrices have; the account then names those of another."""
    ranks = Counter(shape[0] for key, shape in adapter.items() if key.endswith(".lora_A.weight") and shape)
    if not ranks:
        raise CheckpointError(f"{what} holds no LoRA matrices by the names that the original saves")
    return ranks.most_common(1)[0][0]


def _untrained(projection: ProjectionSpec) -> dict[str, torch.Tensor]:
    """The adapter of a folder to train: the linear layer's usual first weights (He et al. 2015), always the same."""
    bound = projection.in_dim**-0.5
    random = torch.Generator().manual_seed(0)
    shapes = {"projection.weight": (projection.out_dim, projection.in_dim), "projection.bias": (projection.out_dim,)}
    return {name: torch.empty(shape).uniform_(-bound, bound, generator=random) for name, shape in shapes.items()}
