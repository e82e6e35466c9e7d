"""A model folder examined in process, through the very runtime that serves; and its language model without adapters."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pandagpt_core.checkpoints import PandaGPTFolder, llm_path, read_folder_of
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.errors import InvalidMedia, InvalidRequest
from pandagpt_core.fusion import Projection
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems.checks import describe
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn

_Key = tuple[str, bytes, tuple[tuple[str, float | str], ...]]
AT_ONCE = 32  # media that are encoded together, and sequences that run together
KEPT_BYTES = 256 << 20  # of encoded media, the newest: a picture of MiniGPT-v2 has 5.8 MB


class LocalModel:
    """A runtime as an `Answerer`. A medium that comes again, alone or among others, is encoded once.

    options: of every question. like: another model; embeddings by towers that both have are taken and added to.
    """

    def __init__(
        self, runtime: Runtime, options: Mapping[str, Any] | None = None, like: "LocalModel | None" = None
    ) -> None:
        self._runtime, self._options = runtime, dict(options or {})
        self.name = runtime.info.id
        self.modalities = frozenset(runtime.info.recipes)
        self._known: dict[_Key, np.ndarray] = {}  # the oldest first
        if like is not None:
            self._known = like._known

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(asked), AT_ONCE):
            answers += self._answered(asked[start : start + AT_ONCE], tokens)
        return answers

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        rows: list[np.ndarray] = []
        for start in range(0, len(media), AT_ONCE):
            part = media[start : start + AT_ONCE]
            pairs = zip(part, self._encoded(part), strict=True)
            rows += [self._runtime.unit(one.modality, embedding) for one, embedding in pairs]
        return np.stack(rows)

    def _answered(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        embeddings = iter(self._encoded([medium for one in asked for medium in one.media]))
        params = SamplingParams(max_tokens=tokens, temperature=0.0)
        texts: dict[str, str] = {}
        for index, one in enumerate(asked):
            uses = tuple(MediaUse(held.modality, f"{at:064x}", 0) for at, held in enumerate(one.media))
            talk = Conversation((Turn("user", one.question),), uses, self._options)
            self._runtime.admit(SequenceRequest(str(index), talk, [next(embeddings) for _ in uses], params))
            texts[str(index)] = ""
        while self._runtime.has_work:
            for output in self._runtime.step():
                texts[output.sequence_id] += output.text
        return list(texts.values())

    def _encoded(self, media: Sequence[Held]) -> list[np.ndarray]:
        """[n, E] each, in their order; a tower sees all of its modality at once."""
        keys = [self._key(one) for one in media]
        new = {key: one for key, one in zip(keys, media, strict=True) if key not in self._known}
        for modality in {one.modality for one in new.values()}:
            mine = {key: self._array(one) for key, one in new.items() if one.modality == modality}
            self._known |= zip(mine, self._runtime.encode(modality, list(mine.values())), strict=True)
        encoded = [self._known[key] for key in keys]
        self._forget_oldest()
        return encoded

    def _forget_oldest(self) -> None:
        held = sum(rows.nbytes for rows in self._known.values())
        for key in list(self._known):
            if held <= KEPT_BYTES:
                return
            held -= self._known.pop(key).nbytes

    def _key(self, held: Held) -> _Key:
        digest = self._runtime.info.digest_of(held.modality)
        return f"{held.modality} {digest}", hashlib.sha256(held.data).digest(), held.params

    def _array(self, held: Held) -> np.ndarray:
        recipe = self._runtime.info.recipes.get(held.modality)
        if recipe is None:
            raise InvalidRequest(f"{self.name} takes no {held.modality}")
        try:
            return load(recipe, held.data, dict(held.params), Limits())
        except InvalidMedia as error:
            raise InvalidMedia(f"{held.name}: {error.message}") from None


class _NoEncoder:
    """Of a model that is asked without media."""

    dim = 1
    recipes: Mapping[Modality, str] = {}

    def encode(self, modality: Modality, clips: torch.Tensor) -> torch.Tensor:
        raise InvalidRequest(f"the language model alone takes no {modality}, nor {len(clips)} clips of it")


def open_model(folder: Path, *, device: str = "cpu") -> LocalModel:
    """The model folder as it is served. Raises CheckpointError."""
    return LocalModel(load_model(folder, RuntimeOptions(device=device, dtype="auto", max_sequences=AT_ONCE)))


def base_model(folder: Path) -> LocalModel:
    """The folder's language model before any adapter, prompted as the folder's is. Raises CheckpointError."""
    spec = read_folder_of(folder, PandaGPTFolder)
    files = llm_path(folder, spec.llm)
    llm, tokenizer = serve(load_llama(files)), load_tokenizer(files)
    system = PandaGPT(
        info=describe(spec, TEMPLATES[spec.template], 1),
        encoder=_NoEncoder(),
        projection=Projection(torch.zeros(llm.config.width, 1), torch.zeros(llm.config.width)),
        llm=llm,
        prompting=Prompting(
            tokenizer=tokenizer,
            template=TEMPLATES[spec.template],
            bos_id=None if spec.bos is None else spec.bos.id,
        ),
    )
    return LocalModel(
        Runtime(system, Engine(llm, tokenizer, EngineConfig(max_running=AT_ONCE, max_model_len=spec.max_model_len)))
    )
