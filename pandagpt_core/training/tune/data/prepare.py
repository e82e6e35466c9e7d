"""A run's conversations with their media encoded: each process encodes a share, and finds the rest in the cache."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from pandagpt_core.checkpoints import ImageBindLLMFolder, ModelFolder, llm_path
from pandagpt_core.encoders.base import encode_items
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.training.tune.data.dataset import TrainSet, examples_of, media_of
from pandagpt_core.training.tune.data.encode import Encode, EncodeOutcome, Source, encode_all
from pandagpt_core.training.tune.data.features import FeatureStore
from pandagpt_core.training.tune.data.layout import Trained, layout_of, rows_of
from pandagpt_core.training.tune.data.samples import ChatSample, read_samples
from pandagpt_core.training.tune.devices import device_name
from pandagpt_core.training.tune.settings import TuneSettings

OpenEncoder = Callable[[Path, Any, str], Encode]


def open_towers(path: Path, folder: ModelFolder, device: str) -> Encode:
    """The folder's own encoder, frozen."""
    encoder = load_encoder(path, folder, device)
    return torch.inference_mode()(lambda modality, arrays: encode_items(encoder, modality, arrays, device))


def learn_from(
    settings: TuneSettings,
    path: Path,
    folder: Trained,
    accelerator: Accelerator,
    tell: Callable[[str], object],
    open_encoder: OpenEncoder,
) -> TrainSet:
    """Read the conversations and see that their media are encoded, each process a share of them."""
    samples = read_samples([Path(file) for file in settings.data.files])
    cache, rows = Path(settings.features.cache), rows_of(folder)
    store = FeatureStore(cache, folder.encoder_digest, features_of(folder), rows)
    outcome = _encoded(samples, settings, path, folder, accelerator, store, open_encoder)
    store.refresh()
    tokenize = layout_of(folder, load_tokenizer(llm_path(path, folder.llm)), settings.data.max_tokens)
    skip = settings.data.broken == "skip"
    return TrainSet(examples_of(samples, outcome, tokenize, folder.max_model_len, tell, skip=skip), store)


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


def features_of(folder: Trained) -> int:
    """E of the shared space."""
    return folder.bind.features if isinstance(folder, ImageBindLLMFolder) else folder.projection.in_dim
