"""A model folder's language model as a plain Hugging Face folder, LoRA in the weights, for an engine that reads that.

Written once under a name that shows what went into it; another model, adapter or rank is another folder. Without LoRA
pairs to merge, a Hugging Face folder serves as it is.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import msgspec
import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    CONFIG,
    ImageBindLLMFolder,
    ModelFolder,
    ProjectedFolder,
    account,
    llm_path,
    read_model_folder,
    read_tensors,
    verify_files,
    write_safetensors,
)
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import all_biases
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.weights import load_llama, read_config, shard_files
from pandagpt_core.systems.adapter import load_adapter

LAYOUT = 1  # of what is written; another number writes anew
WEIGHTS = "model.safetensors"


def merged_folder(path: Path, cache: Path, verify: bool = True) -> Path:
    """The folder for the model folder at `path`, made below `cache` where it is not there yet.

    While it is made the language model is held in memory, the layers that LoRA changes as float32 until they are
    written. verify: hold the model folder's files against their digests first. Raises CheckpointError and its kinds.
    """
    folder = _projected(path)
    source = llm_path(path, folder.llm)
    if source.is_dir() and (folder.lora is None or folder.lora.merged):
        return source
    target = cache / merged_name(folder)
    if not target.is_dir():
        if verify:
            verify_files(path, folder)
        _make(path, folder, source, target)
    return target


def tokenizer_files(path: Path) -> Path:
    """Path of the model folder's tokenizer: a folder or a file, as `load_tokenizer` reads it."""
    return llm_path(path, _projected(path).llm)


def merged_name(folder: ProjectedFolder) -> str:
    """Equal names hold equal weights: the files' digests and how they are put together."""
    files = {name: digest for name, digest in folder.files.items() if name == ADAPTER or _is_llm(folder, name)}
    contents = msgspec.json.encode((LAYOUT, folder.llm, folder.lora, files), order="sorted")
    return hashlib.sha256(contents).hexdigest()[:32]


def load_table(folder: Path, device: str) -> Llama:
    """A model that can embed tokens and nothing else: its layers have no memory. Raises CheckpointError."""
    with init_empty_weights():
        llm = Llama(read_config(folder))
    wanted = {"model.embed_tokens.weight", "model.norm.weight"}
    found = {
        key: tensor
        for file in shard_files(folder)
        for key, tensor in read_tensors(file, device=device, unused=lambda key: key not in wanted)
    }
    shapes = {key: tuple(llm.state_dict()[key].shape) for key in wanted}
    account("the embedding table", shapes, {key: tuple(tensor.shape) for key, tensor in found.items()})
    llm.load_state_dict(found, strict=False, assign=True)  # accounted for above; the layers stay without memory
    return llm.requires_grad_(False).eval()


def write_llama(llm: Llama, target: Path, dtype: torch.dtype) -> None:
    """A Hugging Face folder of a model that is not served yet; a tied head is left out.

    Biases that the format has and the model has not are written as zeros (`llm.config.all_biases`).
    """
    with init_empty_weights():
        layout = Llama(all_biases(llm.config)).state_dict()
    own = llm.state_dict()
    state = {key: own[key] if key in own else torch.zeros(empty.shape) for key, empty in layout.items()}
    if llm.config.tied:
        del state["lm_head.weight"]
    layout = {key: torch.empty(tensor.shape, dtype=dtype, device="meta") for key, tensor in state.items()}
    write_safetensors(target / WEIGHTS, layout, lambda key: state[key].to(dtype))
    config = llm.config.to_hf(str(dtype).removeprefix("torch."))
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _projected(path: Path) -> ProjectedFolder:
    folder = read_model_folder(path)
    if isinstance(folder, ImageBindLLMFolder):
        raise CheckpointError(
            f"{folder.id} adds its media to every layer's attention output, which the engine vllm cannot; "
            "serve this model with the engine own"
        )
    if not isinstance(folder, ProjectedFolder):
        raise CheckpointError(f"the system {folder.system} has no language model that an engine could run by itself")
    return folder


def _is_llm(folder: ModelFolder, name: str) -> bool:
    return folder.llm.folder is not None and Path(name).is_relative_to(folder.llm.folder)


def _make(path: Path, folder: ProjectedFolder, source: Path, target: Path) -> None:
    """Beside the target first, so that a folder of that name is always whole; of two that make it, one wins."""
    llm = load_llama(source)
    dtype = llm.model.embed_tokens.weight.dtype  # as stored: the others are no finer
    load_adapter(path, folder, llm, folder.projection.in_dim, "cpu")
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write_llama(llm, making, dtype)
        making.chmod(0o755)  # a worker of another user may share the cache; tempfile's folders are private
        os.replace(making, target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
