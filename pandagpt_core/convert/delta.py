"""A language model that was published as its difference from LLaMA: base + delta, tensor by tensor.

As FastChat 0.1.10 does for Vicuna 0 and LLaMA-Adapter for Open-Chinese-LLaMA: added in float32, kept in the delta's
type. The delta's vocabulary may be larger; the base's new rows are zero.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch

from pandagpt_core.checkpoints import Shape, account
from pandagpt_core.checkpoints.soundness import is_delta
from pandagpt_core.convert.atomic_folder import ProgressOf, refuse_existing, silent
from pandagpt_core.convert.llm import FOLDER, copy_texts, published_shards, write_index
from pandagpt_core.convert.meta_llama import PARAMS, TOKENIZER, WEIGHTS, WEIGHTS_SUMMED, find_weights
from pandagpt_core.convert.parts import FetchTensor, Part, opened, plan_part, write_part
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.weights import RECOMPUTED

_META_RECOMPUTED = "rope.freqs"
_GROWN = {"model.embed_tokens.weight", "lm_head.weight"}  # rows of the vocabulary
_FINAL_NORMS = ("model.norm.weight", "norm.weight")


def apply_delta(base: Path, delta: Path, out: Path, progress: ProgressOf = silent) -> None:
    """The folder `out`, in the layout that `base` and `delta` have; it appears whole or not at all.

    Raises CheckpointError, and KeyMismatch before anything is written.
    """
    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        (Path(made) / FOLDER).mkdir()
        fill = _fill_meta if (delta / WEIGHTS).is_file() else _fill_hugging_face
        fill(base, delta, Path(made), progress)
        (Path(made) / FOLDER).rename(out)


def _fill_hugging_face(base: Path, delta: Path, made: Path, progress: ProgressOf) -> None:
    shards = published_shards(delta)
    names = [f"{FOLDER}/{shard.with_suffix('.safetensors').name}" for shard in shards]
    if len(shards) == 1:
        names = [f"{FOLDER}/model.safetensors"]
    parts = [plan_part(name, shard, _kept) for name, shard in zip(names, shards, strict=True)]
    _write(published_shards(base), parts, made, progress)
    write_index(made, parts, sum(part.size(None) for part in parts))
    copy_texts(delta, made)


def _fill_meta(base: Path, delta: Path, made: Path, progress: ProgressOf) -> None:
    weights, tokenizer = find_weights(base)
    part = plan_part(f"{FOLDER}/{WEIGHTS_SUMMED}", delta / WEIGHTS, _kept)
    _write([weights], [part], made, progress)
    shutil.copyfile(delta / PARAMS, made / FOLDER / PARAMS)
    shutil.copyfile(tokenizer, made / FOLDER / TOKENIZER)


def _write(base: Iterable[Path], parts: list[Part], made: Path, progress: ProgressOf) -> None:
    size, done = sum(part.size(None) for part in parts), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, size)

    with _opened_all(base) as (shapes, fetches):
        _check(parts, shapes)
        for part in parts:
            changes = {key: partial(_sum, fetches[key], key) for key in part.keys}
            write_part(made, dataclasses.replace(part, changes=changes), None, advance)


@contextmanager
def _opened_all(files: Iterable[Path]) -> Iterator[tuple[dict[str, Shape], dict[str, FetchTensor]]]:
    """Key -> its shape, and key -> what fetches it from the file that holds it."""
    with ExitStack() as stack:
        shapes: dict[str, Shape] = {}
        fetches: dict[str, FetchTensor] = {}
        for file in files:
            layout, fetch = stack.enter_context(opened(file))
            shapes |= {key: tuple(tensor.shape) for key, tensor in layout.items() if _kept(key)}
            fetches |= {key: fetch for key in layout if _kept(key)}
        yield shapes, fetches


def _check(parts: Iterable[Part], found: Mapping[str, Shape]) -> None:
    """Raises KeyMismatch where base and delta are not of one model, CheckpointError where the delta is a model."""
    expected: dict[str, Shape] = {}
    for part in parts:
        expected |= part.shapes()
        _refuse_whole(part)
    for key in _GROWN & expected.keys() & found.keys():
        if expected[key][1:] == found[key][1:] and expected[key][0] >= found[key][0]:
            expected[key] = found[key]
    account("the base of the delta", expected, found)


def _refuse_whole(part: Part) -> None:
    for name in _FINAL_NORMS:
        if name in part.keys:
            with opened(part.source) as (_, fetch):
                if not is_delta(fetch(name)):
                    raise CheckpointError(f"{part.source.name}: {name} is not near zero: this is a model, not a delta")


def _sum(base: FetchTensor, key: str, delta: torch.Tensor) -> torch.Tensor:
    if delta.is_meta:  # the caller needs its shape and type alone
        return delta
    added = base(key).float()
    total = delta.float()
    total[: added.shape[0]] += added
    return total.to(delta.dtype)


def _kept(key: str) -> str | None:
    return None if key == _META_RECOMPUTED or RECOMPUTED.fullmatch(key) else key
