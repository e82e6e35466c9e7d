"""A folder of pictures into a model folder's cache of image features, in batches, and again from where it stopped.

What is done lies in a folder of its own until it is whole: `vectors.f32`, the rows as they come, and `pictures.txt`, a
line a picture, those that could not be decoded behind a minus. So memory holds one batch, whatever the number of rows.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    file_digest,
    read_model_folder,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.encoders.base import Encoder, encode_items
from pandagpt_core.errors import CheckpointError, InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.modalities import MODALITIES
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Modality

NAMES = "cache.txt"  # of a model folder: the picture of each row, a line a row
PARTIAL = ".cache.partial"
SKIPPED = "-"

Progress = Callable[[int, int], None]  # pictures done, and in all


@dataclass(frozen=True, slots=True)
class Built:
    """Rows of the cache, and pictures that could not be decoded."""

    rows: int
    skipped: int


def build_cache(model: Path, images: Path, *, device: str = "cpu", batch: int = 32, progress: Progress) -> Built:
    """Encode all pictures below `images` into the cache of `model`, which must have none.

    A folder of ImageBind-LLM uses it for every request, another one for those that name a `cache_size`. Raises
    CheckpointError for a folder without a tower for pictures or without pictures, or a run that was begun with others.
    """
    folder = read_model_folder(model)
    if folder.cache is not None:
        raise CheckpointError(f"{folder.id} has a cache of {folder.cache.rows} rows already")
    if Modality.IMAGE not in folder.recipes:
        raise CheckpointError(f"{folder.id} has no tower for pictures")
    files = pictures(images)
    work = UnfinishedCache(model / PARTIAL, folder.encoder_digest, [str(file.relative_to(images)) for file in files])
    done = work.resume()
    work.finished(encoder_width(model, folder))
    if done < len(files):
        encoder = _vision(model, folder, device)
        for names, rows in _encoded(encoder, folder, files[done:], images, device, batch):
            work.add(names, rows)
            done += len(names)
            progress(done, len(files))
    built = work.finished(encoder_width(model, folder))
    if not built.rows:
        raise CheckpointError(f"none of the {len(files)} pictures could be decoded")
    _publish(model, folder, work, built)
    return built


def pictures(images: Path) -> list[Path]:
    """All files below a folder whose names are those of pictures, in a fixed order. Raises CheckpointError for none."""
    suffixes = MODALITIES["image"].mime
    found = sorted(file for file in images.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not found:
        raise CheckpointError(f"{images.name} holds no pictures ({', '.join(suffixes)})")
    return found


class UnfinishedCache:
    """The unfinished cache, on disk. A line and its row are written together; what a crash left beyond is cut off."""

    def __init__(self, place: Path, encoder_digest: str, names: Sequence[str]) -> None:
        self._place, self._digest, self._names = place, encoder_digest, names
        self.vectors, self._lines = place / "vectors.f32", place / "pictures.txt"

    def resume(self) -> int:
        """Pictures that are done. Raises CheckpointError for work that another encoder or folder of pictures began."""
        about = self._place / "about.json"
        if not about.is_file():
            shutil.rmtree(self._place, ignore_errors=True)
            self._place.mkdir()
            self.vectors.touch()
            self._lines.touch()
            about.write_text(json.dumps({"encoder": self._digest}), encoding="utf-8")
            return 0
        lines = self._read()
        if json.loads(about.read_text(encoding="utf-8"))["encoder"] != self._digest or any(
            line.removeprefix(SKIPPED) != name for line, name in zip(lines, self._names, strict=False)
        ):
            raise CheckpointError(f"{PARTIAL} was begun with another encoder or other pictures; remove it first")
        return len(lines)

    def add(self, lines: Sequence[str], rows: np.ndarray) -> None:
        """Rows first: a line stands for a row that is there."""
        for path, data in ((self.vectors, rows.tobytes()), (self._lines, "".join(f"{x}\n" for x in lines).encode())):
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def finished(self, width: int) -> Built:
        """Cut off rows that a crash left without a line."""
        lines = self._read()
        rows = sum(not line.startswith(SKIPPED) for line in lines)
        os.truncate(self.vectors, rows * width * 4)
        return Built(rows, len(lines) - rows)

    def names(self) -> list[str]:
        """The picture of each row."""
        return [line for line in self._read() if not line.startswith(SKIPPED)]

    def _read(self) -> list[str]:
        text = self._lines.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._lines.write_text(whole, encoding="utf-8")
        return whole.splitlines()


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


def _encoded(
    encoder: Encoder, folder: ModelFolder, files: Sequence[Path], root: Path, device: str, batch: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of lines, and the unit rows [n, E] of those that could be decoded."""
    for start in range(0, len(files), batch):
        lines, arrays = [], []
        for file in files[start : start + batch]:
            name = str(file.relative_to(root))
            try:
                arrays.append(load(folder.recipes[Modality.IMAGE], file.read_bytes(), {}, Limits()))
                lines.append(name)
            except InvalidMedia:
                lines.append(f"{SKIPPED}{name}")
        yield lines, _units(encoder, arrays, device)


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
    rows = np.memmap(work.vectors, np.float32, "r+").reshape(built.rows, -1)
    vectors = torch.from_numpy(rows)
    digest = write_safetensors(model / CACHE, {"vectors": vectors}, lambda _: vectors)
    (model / NAMES).write_text("".join(f"{name}\n" for name in work.names()), encoding="utf-8")
    size = CacheSpec(rows=1).size if isinstance(folder, ImageBindLLMFolder) else 0
    files = {**folder.files, CACHE: digest, NAMES: file_digest(model / NAMES)}
    changed = msgspec.structs.replace(folder, cache=CacheSpec(rows=built.rows, size=size), files=files)
    making = model / PARTIAL / "config"
    making.mkdir(exist_ok=True)
    write_model_folder(making, changed)
    os.replace(making / CONFIG, model / CONFIG)
    shutil.rmtree(model / PARTIAL)
