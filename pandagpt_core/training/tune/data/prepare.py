"""A run's conversations with their media encoded: each process encodes a share, and finds the rest in the cache."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from pandagpt_core.checkpoints import ImageBindLLMFolder, MiniGPTv2Folder, ModelFolder, llm_path
from pandagpt_core.encoders.base import TokenEncoder, encode_items
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.systems.encoder import load_encoder, token_towers
from pandagpt_core.training.tune.data.dataset import SoftTokens, TrainSet, examples_of, media_of
from pandagpt_core.training.tune.data.encode import Encode, EncodeOutcome, Source, encode_all
from pandagpt_core.training.tune.data.features import FeatureStore, MediumFeatures
from pandagpt_core.training.tune.data.layout import Trained, layout_of, rows_per_medium, widened
from pandagpt_core.training.tune.data.samples import ChatSample, read_samples
from pandagpt_core.training.tune.devices import device_name
from pandagpt_core.training.tune.settings import TuneSettings
from pandagpt_core.training.tune.soft_tokens import resampler_spec
from pandagpt_core.types import Modality

OpenEncoder = Callable[[Path, Any, str], Encode]


def open_towers(path: Path, folder: ModelFolder, device: str) -> Encode:
    """The folder's own encoder, frozen."""
    encoder = load_encoder(path, folder, device)
    return torch.inference_mode()(lambda modality, arrays: encode_items(encoder, modality, arrays, device))


def open_token_towers(path: Path, folder: ModelFolder, device: str) -> Encode:
    """The same, with the tokens that a resampler reads."""
    encoder = cast(TokenEncoder, load_encoder(path, folder, device))

    @torch.inference_mode()
    def encode(modality: Modality, arrays: Sequence[np.ndarray]) -> list[MediumFeatures]:
        counts = [len(array) for array in arrays]
        seen = encoder.with_tokens(modality, torch.from_numpy(np.concatenate(arrays)).to(device))
        vectors, tokens = torch.split(seen.vectors, counts), torch.split(seen.tokens, counts)
        ends = [None] * len(arrays) if seen.keep is None else torch.split(seen.keep.sum(dim=1), counts)
        return [MediumFeatures(v.mean(dim=0), t, end) for v, t, end in zip(vectors, tokens, ends, strict=True)]

    return encode


def learn_from(
    settings: TuneSettings,
    path: Path,
    folder: Trained,
    accelerator: Accelerator,
    report: Callable[[str], object],
    open_encoder: OpenEncoder,
) -> TrainSet:
    """Read the conversations and see that their media are encoded, each process a share of them."""
    samples = read_samples([Path(file) for file in settings.data.files])
    spec = resampler_spec(folder, settings)
    cache, rows = Path(settings.features.cache), rows_per_medium(folder)
    store = FeatureStore(cache, kept_digest(folder, tokens=spec is not None), features_of(folder), rows)
    opened = open_encoder if spec is None else open_token_towers
    outcome = _encoded(samples, settings, path, folder, accelerator, store, opened)
    store.refresh()
    tokenize = layout_of(folder, load_tokenizer(llm_path(path, folder.llm)), settings.data.max_tokens)
    soft = None if spec is None else SoftTokens(spec.count, token_towers(folder).tower_of)
    tokenize = tokenize if soft is None else widened(tokenize, soft.count)
    skip, alone = settings.data.broken == "skip", isinstance(folder, MiniGPTv2Folder)
    examples = examples_of(samples, outcome, tokenize, folder.max_model_len, report, skip=skip, one_medium=alone)
    return TrainSet(examples, store, soft)


def _encoded(
    samples: list[ChatSample],
    settings: TuneSettings,
    path: Path,
    folder: Trained,
    accelerator: Accelerator,
    store: FeatureStore,
    open_encoder: OpenEncoder,
) -> EncodeOutcome:
    features = settings.features
    source = Source(Path(settings.data.media), folder.recipes, features.threads, features.batch)
    mine = media_of(samples)[accelerator.process_index :: accelerator.num_processes]
    with tqdm(total=len(mine), desc="media", disable=not accelerator.is_main_process, leave=False) as bar:
        own = encode_all(
            mine,
            source,
            store,
            lambda: open_encoder(path, folder, device_name(accelerator.device)),
            accelerator.process_index,
            bar.update,
        )
    accelerator.wait_for_everyone()
    every = gather_object([own]) if accelerator.num_processes > 1 else [own]
    return EncodeOutcome(
        {medium: key for one in every for medium, key in one.keys.items()},
        {medium: problem for one in every for medium, problem in one.problems.items()},
    )


def kept_digest(folder: ModelFolder, *, tokens: bool) -> str:
    """Names what the frozen towers give: vectors or rows, or vectors with their towers' tokens."""
    digest = folder.towers_digest
    return hashlib.sha256(f"{digest}/tokens".encode()).hexdigest() if tokens else digest


def features_of(folder: Trained) -> int:
    """E of the shared space."""
    return folder.bind.features if isinstance(folder, ImageBindLLMFolder) else folder.projection.in_dim
