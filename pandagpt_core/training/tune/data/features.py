"""Encoded media kept on disk: the encoder is frozen, so a medium is encoded once for all trainings.

CACHE/<encoder digest>/<digest of its keys>.safetensors   [E] or [n, E] float32 by key; written whole, never changed;
                                                         for a resampler also KEY/tokens, [clips, T, W] float16, and of
                                                         texts KEY/ends, [clips], how many of the T count
CACHE/<encoder digest>/seen-<process>.json               which key a file had, by its size and time of change

A key is the digest of a medium's bytes, modality, recipe and parameters (`media.digest`); the encoder's digest covers
its weights and recipes. So a changed picture, recipe or encoder is encoded anew, and a renamed picture is not.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pandagpt_core.checkpoints import write_safetensors
from pandagpt_core.errors import CheckpointError
from pandagpt_core.training.batch import MediumTokens

TOKENS, ENDS = "/tokens", "/ends"
_LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True, slots=True)
class MediumFeatures:
    """Output of a frozen tower from one medium, for a resampler: the vector [E], the tokens, and the ends of texts."""

    vector: Tensor
    tokens: Tensor
    ends: Tensor | None = None

    def named(self, key: str) -> dict[str, Tensor]:
        ends = {} if self.ends is None else {key + ENDS: self.ends.float().cpu()}
        tokens = self.tokens.clamp(-_LARGEST, _LARGEST).half().cpu()
        return {key: self.vector.float().cpu(), key + TOKENS: tokens, **ends}


class FeatureStore:
    """The vectors, or rows of vectors, of one encoder. `refresh` sees what other processes have written since."""

    def __init__(self, cache: Path, encoder_digest: str, width: int, rows: int = 0) -> None:
        """`rows` of `width` each; 0: one vector without that axis."""
        self.folder = cache / encoder_digest[:32]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.width, self._shape = width, (rows, width) if rows else (width,)
        self._shards: dict[Path, Any] = {}
        self._of: dict[str, Any] = {}
        self._seen: dict[str, str] = {}
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in self._shards:
                opened: Any = safe_open(path, framework="pt", device="cpu")
                self._shards[path] = opened
                self._of |= dict.fromkeys(opened.keys(), opened)
        for path in sorted(self.folder.glob("seen-*.json")):
            self._seen |= json.loads(path.read_text(encoding="utf-8"))

    def __contains__(self, key: str) -> bool:
        return key in self._of

    def __getitem__(self, key: str) -> Tensor:
        """[E] or [n, E], float32."""
        vector: Tensor = self._of[key].get_tensor(key)
        if tuple(vector.shape) != self._shape:
            raise CheckpointError(f"a kept feature has shape {tuple(vector.shape)}, the encoder gives {self._shape}")
        return vector

    def tokens(self, key: str, tower: str) -> MediumTokens:
        """Of a medium that was kept as `MediumFeatures`."""
        tokens: Tensor = self._of[key + TOKENS].get_tensor(key + TOKENS)
        keep = None
        if key + ENDS in self._of:
            ends: Tensor = self._of[key + ENDS].get_tensor(key + ENDS)
            keep = torch.arange(tokens.shape[1]) < ends[:, None]
        return MediumTokens(tower, tokens.float(), keep)

    def write(self, vectors: Mapping[str, Tensor]) -> None:
        """Add a shard; it appears whole or not at all."""
        if not vectors:
            return
        name = hashlib.sha256("".join(sorted(vectors)).encode()).hexdigest()[:32]
        partial = self.folder / f".{name}-{os.getpid()}.partial"
        rows = {k: (one if k.endswith(TOKENS) else one.float()).contiguous().clone() for k, one in vectors.items()}
        write_safetensors(partial, rows, rows.__getitem__)
        partial.replace(self.folder / f"{name}.safetensors")
        self.refresh()

    def seen(self, mark: str) -> str | None:
        """The key that a file of this mark (`mark_of`) had, if its vector is here."""
        key = self._seen.get(mark)
        return key if key is not None and key in self else None

    def write_seen(self, keys: Mapping[str, str], process: int) -> None:
        """Remember files by their marks."""
        mine = self.folder / f"seen-{process}.json"
        before = json.loads(mine.read_text(encoding="utf-8")) if mine.exists() else {}
        partial = mine.with_suffix(".partial")
        partial.write_text(json.dumps({**before, **keys}), encoding="utf-8")
        partial.replace(mine)
        self.refresh()


def mark_of(path: Path, what: str) -> str:
    """A file's place, size and time of change, and `what` is read from it. Raises OSError."""
    stat = path.stat()
    return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{what}"
