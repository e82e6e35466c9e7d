"""Towers as graphs in OpenVINO's files (.xml, .bin), kept in a folder under a name of all that they follow from.

To convert a tower, torch traces it, which takes time and leaves 10 to 20 MB in the process. A process that finds the
files reads them instead.
"""

import hashlib
import importlib
import inspect
import json
import logging
import mmap
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from torch import nn

from pandagpt_core.encoders.static.tower import StaticTower
from pandagpt_core.llm.openvino.core import core

log = logging.getLogger(__name__)

FOLDER = "towers"
PACKAGES = ("pandagpt", "torch", "openvino")


@dataclass(frozen=True, slots=True)
class Graph:
    """A tower's graph, whose weights lie in `weights`, a mapped file."""

    xml: str
    weights: mmap.mmap

    def model(self, batch: int) -> ov.Model:
        """For batches of just that size. Raises RuntimeError where the graph is made for another one."""
        shared = ov.Tensor(np.frombuffer(self.weights, np.uint8), shared_memory=True)
        model = core().read_model(self.xml, shared)
        model.reshape([batch, *list(model.input(0).shape)[1:]])
        return model

    def leave_memory(self) -> None:
        """Give the pages back; a later reader finds them in the file."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.weights.madvise(mmap.MADV_DONTNEED)


class Graphs:
    """The graphs in a folder; without one they are made anew and their files last as long as they are mapped."""

    def __init__(self, cache: Path | None) -> None:
        self._folder = None if cache is None else cache / FOLDER
        self._used: set[str] = set()

    def of(self, tower: StaticTower) -> Graph:
        """As kept, else converted. Raises what torch or OpenVINO raise at a tower that cannot be converted."""
        name = graph_name(tower)
        self._used.add(name)
        with self._place() as folder:
            return _read(folder, name) or _made(folder, name, tower)

    def prune(self) -> None:
        """Remove what this load did not use: graphs of another model, or of what was updated since."""
        for path in () if self._folder is None else self._folder.glob("*"):
            if path.name.partition(".")[0] not in self._used:
                path.unlink(missing_ok=True)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            yield self._folder
        else:
            with tempfile.TemporaryDirectory(prefix="pandagpt-towers-") as folder:
                yield Path(folder)


def graph_name(tower: StaticTower) -> str:
    """A digest of the versions of all that converts, the tower's code, weights and shape."""
    digest = hashlib.sha256(repr([*map(version, PACKAGES), repr(tower.module), tuple(tower.clip.shape)]).encode())
    for source in sorted({type(part).__module__ for part in tower.module.modules()}):
        digest.update(inspect.getsource(importlib.import_module(source)).encode())
    for key, tensor in tower.module.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _read(folder: Path, name: str) -> Graph | None:
    """None where there is none, or, with a line in the log, where it is not what was written."""
    xml, weights, written = (folder / f"{name}.{kind}" for kind in ("xml", "bin", "json"))
    try:
        expected = json.loads(written.read_bytes())
        text = xml.read_bytes()
        with weights.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # OpenVINO shares only what may be written
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("a tower's graph cannot be read and is made anew: %s", type(error).__name__)
        return None
    if expected != [_digest(text), _digest(mapped)]:
        log.warning("a tower's graph is not what was written and is made anew: %s", xml.name)
        return None
    return Graph(text.decode(), mapped)


def _made(folder: Path, name: str, tower: StaticTower) -> Graph:
    """The files appear whole, the digests last."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="part-") as part:
        begun = Path(part) / name
        ov.save_model(converted(tower.module, tower.clip), f"{begun}.xml", compress_to_fp16=False)
        digests = [_digest(Path(f"{begun}.{kind}").read_bytes()) for kind in ("xml", "bin")]
        Path(f"{begun}.json").write_text(json.dumps(digests), encoding="utf-8")
        for kind in ("xml", "bin", "json"):
            shutil.move(f"{begun}.{kind}", folder / f"{name}.{kind}")
    made = _read(folder, name)
    if made is None:
        raise RuntimeError("the graph's files cannot be read back")
    return made


@torch.no_grad()
def converted(module: nn.Module, clip: torch.Tensor) -> ov.Model:
    """By torch's trace of one clip and OpenVINO's own reader, as `openvino.convert_model` does, without its reports."""
    # Loads torch's tracer, which a process that finds the files does without.
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shapes become constants, which is what is wanted
        traced = TorchScriptPythonDecoder(module, example_input=(clip,), trace_kwargs={"check_trace": False})
    reader: Any = FrontEndManager().load_by_framework("pytorch")
    model = reader.convert(reader.load(traced))
    model.reshape(list(clip.shape))
    return model


def _digest(content: bytes | mmap.mmap) -> str:
    return hashlib.sha256(content).hexdigest()
