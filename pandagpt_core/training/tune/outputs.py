"""Results of a run: a model folder to serve; on request PandaGPT's own file of trained weights, and a PEFT folder."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from pandagpt_core.checkpoints import (
    ADAPTER,
    RESAMPLER,
    ImageBindLLMFolder,
    LoraSpec,
    PandaGPTFolder,
    ProjectedFolder,
    ResamplerSpec,
    file_path,
    own_encoder,
    read_tensors,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.perception.table import PERCEPTION
from pandagpt_core.training.tune.settings import LoraSettings

MODEL, DELTA, PEFT = "model", "delta.safetensors", "peft"
_ORIGINAL = "llama_model.base_model.model."  # peft 0.3.0 around a Hugging Face LLaMA, inside PandaGPT's module
_PEFT = "base_model.model."
_RESAMPLER = "resampler."
State = Mapping[str, Tensor]


def resampler_of(trained: State) -> dict[str, Tensor]:
    """The trained parameters for a model folder's resampler.safetensors."""
    return {n.removeprefix(_RESAMPLER): tensor for n, tensor in trained.items() if n.startswith(_RESAMPLER)}


def adapter_of(trained: State) -> dict[str, Tensor]:
    """The trained parameters under the names of a model folder's adapter."""
    halves = {"a": "lora_A.weight", "b": "lora_B.weight"}
    state: dict[str, Tensor] = {}
    for name, tensor in trained.items():
        if name.startswith(_RESAMPLER):
            continue
        layer, _, leaf = name.rpartition(".")
        state[name if layer == "projection" else f"{layer.removeprefix('llm.')}.{halves[leaf]}"] = tensor
    return state


def write_model(
    out: Path,
    base: Path,
    folder: ProjectedFolder,
    adapter: State,
    lora: LoraSettings,
    name: str,
    provenance: dict[str, Any],
    resampler: tuple[ResamplerSpec, State] | None = None,
) -> Path:
    """The base's folder with another adapter; its other files are linked where the disk allows it, else copied.

    Parts of the base's adapter beside the projection's weight and bias (a recall) stay. The adapter's type is kept.
    resampler: of the new folder, whether or not the base has one.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    kept = {k: t for k, t in read_tensors(base / ADAPTER) if k.startswith("projection.") and k not in adapter}
    state = {**kept, **adapter}
    files = {ADAPTER: write_safetensors(out / ADAPTER, state, state.__getitem__)}
    for file in folder.files:
        if file not in (ADAPTER, RESAMPLER) and _is_served(file, folder):
            link(file_path(base, folder, file), out / file)
            files[file] = folder.files[file]
    soft: dict[str, Any] = {"soft_tokens": None} if isinstance(folder, PandaGPTFolder) else {}
    if resampler is not None:
        spec, weights = resampler
        soft, files[RESAMPLER] = {"soft_tokens": spec}, write_safetensors(out / RESAMPLER, weights, weights.__getitem__)
    written = msgspec.structs.replace(
        folder,
        **soft,
        id=name,
        encoder=own_encoder(folder),
        lora=LoraSpec(r=lora.r, alpha=lora.alpha, targets=lora.targets),
        files=files,
        created=int(time.time()),
        provenance={**provenance, "base": {"id": folder.id, "provenance": folder.provenance}},
    )
    write_model_folder(out, written)
    return out


def write_bind(
    out: Path, base: Path, folder: ImageBindLLMFolder, adapter: State, name: str, provenance: dict[str, Any]
) -> Path:
    """ImageBind-LLM's folder with another adapter, which is whole; its other files as in `write_model`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = {ADAPTER: write_safetensors(out / ADAPTER, adapter, adapter.__getitem__)}
    for file in folder.files:
        if file != ADAPTER:
            link(file_path(base, folder, file), out / file)
            files[file] = folder.files[file]
    provenance = {**provenance, "base": {"id": folder.id, "provenance": folder.provenance}}
    written = msgspec.structs.replace(
        folder,
        id=name,
        encoder=own_encoder(folder),
        files=files,
        created=int(time.time()),
        provenance=provenance,
    )
    write_model_folder(out, written)
    return out


def write_delta(path: Path, adapter: State) -> Path:
    """PandaGPT's own names: `pandagpt convert --delta` reads it, and so does the original, given as a state dict."""
    return save(path, {original_name(name): tensor for name, tensor in adapter.items()})


def original_name(name: str) -> str:
    """`projection.weight` -> `llama_proj.weight`, `<layer>.lora_A.weight` -> `llama_model...lora_A.default.weight`."""
    if name.startswith("projection."):
        return name.replace("projection.", "llama_proj.", 1)
    return f"{_ORIGINAL}{name.removesuffix('.weight')}.default.weight"


def write_peft(path: Path, adapter: State, lora: LoraSettings, base: str, resampler: State) -> Path:
    """A folder for `peft.PeftModel.from_pretrained` over the language model; the projection lies beside it, and the
    resampler where it is not empty."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    layers = {f"{_PEFT}{name}": tensor for name, tensor in adapter.items() if not name.startswith("projection.")}
    save(path / "adapter_model.safetensors", layers)
    save(path / "projection.safetensors", {k: t for k, t in adapter.items() if k.startswith("projection.")})
    if resampler:
        save(path / RESAMPLER, resampler)
    written = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": list(lora.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (path / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return path


def save(path: Path, state: State) -> Path:
    """A new file in place of what was there; linked folders keep theirs."""
    path.unlink(missing_ok=True)
    write_safetensors(path, state, state.__getitem__)
    return path


def cast_state(state: State, dtype: str) -> dict[str, Tensor]:
    wanted = {"float32": torch.float32, "float16": torch.float16}[dtype]
    return {name: tensor.to(wanted).contiguous() for name, tensor in state.items()}


def _is_served(file: str, folder: ProjectedFolder) -> bool:
    """Weights, names and the language model's files, not a card or figures that speak of the base."""
    if file == PERCEPTION or file.endswith(".safetensors"):
        return True
    return folder.llm.folder is not None and file.startswith(f"{folder.llm.folder}/")


def link(source: Path, target: Path) -> None:
    """The same file at another place, without a second copy where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
