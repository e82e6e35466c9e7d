"""The language model's part of a model folder: its shards as safetensors, its tokenizer, and its BOS token."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from pandagpt_core.checkpoints import BosSpec, Shape, account, module_shapes
from pandagpt_core.checkpoints.soundness import check_not_a_delta
from pandagpt_core.convert.described_by import licence_files
from pandagpt_core.convert.parts import Part, opened, plan_part
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.tokenizers.special_tokens import FILES_BY_AUTHORITY, read_json, special_piece
from pandagpt_core.llm.weights import INDEX, RECOMPUTED

FOLDER = "llm"
COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
# Names of files of weights, best first: an index of shards, or one file.
_FINAL_NORM = "model.norm.weight"
_INDEXES = (INDEX, "pytorch_model.bin.index.json")
_SINGLES = ("model.safetensors", "pytorch_model.bin")


def expected_shapes(config: LlamaConfig) -> dict[str, Shape]:
    """Every key of a Hugging Face LLaMA of these sizes."""
    with init_empty_weights():
        return module_shapes(Llama(config))


def plan_llm(folder: Path, config: LlamaConfig) -> list[Part]:
    """One part a shard, after a strict account of all shards together; position buffers of old files are dropped."""
    shards = published_shards(folder)
    parts = [
        plan_part(f"{FOLDER}/{_shard_name(index, len(shards))}", shard, _kept)
        for index, shard in enumerate(shards, start=1)
    ]
    _refuse_doubles(parts)
    _refuse_a_delta(parts)
    found = {key: shape for part in parts for key, shape in part.shapes().items()}
    expected = expected_shapes(config)
    if config.tied and "lm_head.weight" not in found:
        del expected["lm_head.weight"]
    account(f"{folder.name} (the language model)", expected, found)
    return parts


def published_shards(folder: Path) -> list[Path]:
    """The files of weights in a Hugging Face folder, by its index where it has one; safetensors before pickles."""
    for name in _INDEXES:
        if (folder / name).is_file():
            weight_map = read_json(folder / name).get("weight_map")
            if not isinstance(weight_map, dict) or not all(isinstance(one, str) for one in weight_map.values()):
                raise CheckpointError(f"{name} names no files: its weight_map is missing or no object of names")
            names = set(weight_map.values())
            if any(Path(shard).name != shard for shard in names):
                raise CheckpointError(f"{name} names files outside of its folder")
            return [folder / shard for shard in sorted(names)]
    for name in _SINGLES:
        if (folder / name).is_file():
            return [folder / name]
    raise CheckpointError(f"{folder.name} holds no weights: none of {', '.join((*_INDEXES, *_SINGLES))}")


def write_index(folder: Path, parts: Sequence[Part], size: int) -> list[str]:
    """Write the index of several shards below the model folder; the names of the files written."""
    if len(parts) == 1:
        return []
    weight_map = {key: Path(part.target).name for part in parts for key in part.keys}
    index = json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}, indent=2, sort_keys=True)
    (folder / FOLDER / INDEX).write_text(index + "\n", encoding="utf-8")
    return [f"{FOLDER}/{INDEX}"]


def copy_texts(source: Path, folder: Path) -> list[str]:
    """Copy configuration, tokenizer and licence files; the names of the copies below the model folder."""
    present = [*[name for name in COPIED if (source / name).is_file()], *licence_files(source)]
    for name in present:
        shutil.copyfile(source / name, folder / FOLDER / name)
    return [f"{FOLDER}/{name}" for name in present]


def read_bos(folder: Path) -> BosSpec | None:
    """The token that begins a prompt, and the file that names it; None where the tokenizer has none."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.bos_id is None:
        return None
    said_by = [name for name in FILES_BY_AUTHORITY if _names_bos(folder, name)]
    source = said_by[0] if said_by else "tokenizer.model"
    return BosSpec(id=tokenizer.bos_id, piece=special_piece(folder, "bos_token") or "", source=source)


def _names_bos(folder: Path, name: str) -> bool:
    entry = read_json(folder / name).get("bos_token")
    return bool(entry.get("content") if isinstance(entry, dict) else entry)


def _kept(key: str) -> str | None:
    return None if RECOMPUTED.fullmatch(key) else key


def _shard_name(index: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{index:05}-of-{count:05}.safetensors"


def _refuse_a_delta(parts: Sequence[Part]) -> None:
    for part in parts:
        if _FINAL_NORM in part.keys:
            with opened(part.source) as (_, fetch):
                check_not_a_delta(part.source, _FINAL_NORM, fetch(part.keys[_FINAL_NORM]))


def _refuse_doubles(parts: Sequence[Part]) -> None:
    seen: set[str] = set()
    doubles = []
    for part in parts:
        doubles += [f"{key} (a second time, in {part.source.name})" for key in part.keys if key in seen]
        seen |= part.keys.keys()
    if doubles:
        raise KeyMismatch("the language model", left_over=doubles)
