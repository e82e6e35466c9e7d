"""A model folder of the service over the benchmark's language model: one tiny random tower, which no request uses, and
the small default's table of n-grams, as `make serve` has it."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.lib import weights
from pandagpt_core.checkpoints import (
    NGRAMS,
    EncoderSpec,
    LLMSpec,
    PandaGPTFolder,
    ProjectionSpec,
    folder_digests,
    write_model_folder,
)
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import RECIPES, ImageBindSizes, TowerSize
from pandagpt_core.types import Modality

ID = "bench-ngrams"
TABLE = Path(__file__).parents[2] / "models/panda-mini" / NGRAMS
_TINY = TowerSize(width=8, blocks=1, heads=1)
SIZES = ImageBindSizes(_TINY, _TINY, _TINY, _TINY, _TINY, _TINY, out=8, vocab=64)


def service_folder(cache: Path, *, endless: bool = True) -> Path:
    """Written once into the cache folder. endless: as of `weights.hf_folder`."""
    path = cache / (ID if endless else f"{ID}-plain")
    if not (path / "config.json").exists():
        shutil.rmtree(path, ignore_errors=True)
        write(path, weights.hf_folder(cache, endless=endless))
    return path


def write(path: Path, llm: Path) -> None:
    """A folder with copies of the language model at `llm`."""
    shutil.copytree(llm, path / "llm")
    shutil.copy(TABLE, path / NGRAMS)
    width = weights.width(llm)
    tower = ImageBind(SIZES, variant="pandagpt", towers=["thermal"], device="cpu")
    torch.manual_seed(0)
    save_file(
        {name: torch.randn_like(tensor) for name, tensor in tower.state_dict().items()}, path / "encoder.safetensors"
    )
    projection = {"projection.weight": torch.randn(width, SIZES.out), "projection.bias": torch.zeros(width)}
    save_file(projection, path / "adapter.safetensors")
    folder = PandaGPTFolder(
        id=ID,
        template="chatml",
        encoder=EncoderSpec(kind="imagebind", sizes=SIZES.to_config()),
        projection=ProjectionSpec(in_dim=SIZES.out, out_dim=width),
        llm=LLMSpec(folder="llm"),
        recipes={Modality.THERMAL: RECIPES[Modality.THERMAL]},
        files=folder_digests(path),
        max_model_len=2048,
    )
    write_model_folder(path, folder)
