"""A folder of pictures into a model folder's cache of image features, in batches, and again from where it stopped.

Finished parts lie in a folder of their own until all are there (`unfinished`). Memory holds one batch.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch

from pandagpt_core.checkpoints import (
    CACHE,
    CONFIG,
    CacheSpec,
    ImageBindLLMFolder,
    ModelFolder,
    PandaGPTFolder,
    file_digest,
    read_model_folder,
    write_model_folder,
    write_pieces,
)
from pandagpt_core.convert.cache.picture_list import names_below
from pandagpt_core.convert.cache.unfinished import Built, UnfinishedCache
from pandagpt_core.encoders.base import Encoder, encode_items
from pandagpt_core.errors import CheckpointError, InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.modalities import MODALITIES
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Modality

NAMES = "cache.txt"  # of a model folder: the picture of each row, a line a row
PARTIAL = ".cache.partial"

CountProgress = Callable[[int, int], None]  # pictures done, and in all
OpenTower = Callable[[Path, ModelFolder, str], Encoder]  # model folder, its config, device


def build_cache(
    model: Path,
    images: Path,
    *,
    device: str = "cpu",
    batch: int = 32,
    progress: CountProgress,
    open_tower: OpenTower | None = None,
) -> Built:
    """Encode all pictures below `images` into the cache of `model`, which must have none.

    A folder of ImageBind-LLM uses it for every request, another one for those that name a `cache_size`. Raises
    CheckpointError for a folder without a shared space or a tower for pictures, or without pictures, and for a run that
    was begun with others.
    """
    folder = cacheable(model)
    work = UnfinishedCache(model / PARTIAL, encoder_width(model, folder))
    done = work.begin(folder.encoder_digest, _pictures(images)).pictures
    total = work.total()
    if done < total:
        encoder = (open_tower or _vision)(model, folder, device)
        names = work.todo(done)
        while some := list(islice(names, batch)):
            arrays = [_decoded(images / name, folder.recipes[Modality.IMAGE]) for name in some]
            work.add(
                [array is not None for array in arrays],
                _units(encoder, [array for array in arrays if array is not None], device),
            )
            done += len(some)
            progress(done, total)
    built = work.count()
    if not built.rows:
        raise CheckpointError(f"none of the {total} pictures could be decoded")
    _publish(model, folder, work, built)
    return built


def cacheable(model: Path) -> PandaGPTFolder | ImageBindLLMFolder:
    """The config of a folder that can get a cache. Raises CheckpointError."""
    folder = read_model_folder(model)
    if not isinstance(folder, PandaGPTFolder | ImageBindLLMFolder):
        raise CheckpointError(f"{folder.id} is of the system {folder.system}, whose media have no shared space")
    if folder.cache is not None:
        raise CheckpointError(f"{folder.id} has a cache of {folder.cache.rows} rows already")
    if isinstance(folder, PandaGPTFolder) and folder.soft_tokens is not None:
        raise CheckpointError(f"{folder.id} has soft_tokens, a cache draws the one vector of a medium")
    if Modality.IMAGE not in folder.recipes:
        raise CheckpointError(f"{folder.id} has no tower for pictures")
    return folder


def encoder_width(model: Path, folder: ModelFolder) -> int:
    """E of the shared space."""
    sizes = folder.encoder.sizes
    width = sizes.get("out", sizes.get("dim"))
    if not isinstance(width, int):
        raise CheckpointError(f"{model.name} does not state the width of its embeddings")
    return width


def _vision(model: Path, folder: ModelFolder, device: str) -> Encoder:
    """The tower of pictures alone."""
    alone = msgspec.structs.replace(folder, recipes={Modality.IMAGE: folder.recipes[Modality.IMAGE]})
    return load_encoder(model, alone, device)


def _pictures(images: Path) -> Iterator[str]:
    """Names below a folder. Raises CheckpointError for none."""
    suffixes, found = MODALITIES["image"].mime, False
    for name in names_below(images, suffixes.keys()):
        found = True
        yield name
    if not found:
        raise CheckpointError(f"{images.name} holds no pictures ({', '.join(suffixes)})")


def _decoded(file: Path, recipe: str) -> np.ndarray | None:
    """A picture's array; None for a file that cannot be read as one, or is larger than a request's may be."""
    limits = Limits()
    try:
        if file.stat().st_size > limits.bytes:
            return None
        return load(recipe, file.read_bytes(), {}, limits)
    except (InvalidMedia, OSError):
        return None


@torch.inference_mode()
def _units(encoder: Encoder, arrays: Sequence[np.ndarray], device: str) -> np.ndarray:
    if not arrays:
        return np.zeros((0, encoder.dim), np.float32)
    rows = encode_items(encoder, Modality.IMAGE, arrays, device)
    units: np.ndarray = torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()
    return units


def _publish(model: Path, folder: ModelFolder, work: UnfinishedCache, built: Built) -> None:
    """The cache, the names of its rows, then config.json, by which they begin to count."""
    (model / CACHE).unlink(missing_ok=True)
    width = encoder_width(model, folder)
    digest = write_pieces(model / CACHE, {"vectors": torch.empty(built.rows, width, device="meta")}, work.rows())
    with (model / NAMES).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}\n" for name in work.names())
    size = CacheSpec(rows=1).size if isinstance(folder, ImageBindLLMFolder) else 0
    files = {**folder.files, CACHE: digest, NAMES: file_digest(model / NAMES)}
    changed = msgspec.structs.replace(folder, cache=CacheSpec(rows=built.rows, size=size), files=files)
    making = model / PARTIAL / "config"
    making.mkdir(exist_ok=True)
    write_model_folder(making, changed)
    os.replace(making / CONFIG, model / CONFIG)
    shutil.rmtree(model / PARTIAL)
