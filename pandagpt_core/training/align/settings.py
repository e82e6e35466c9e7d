"""The settings of an alignment: a TOML file, read as strictly as that of `pandagpt train`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pandagpt_core.checkpoints.pandagpt import MOST_SOFT_TOKENS
from pandagpt_core.field_bounds import CountOrZero, NonEmptyText, Positive
from pandagpt_core.training.tune.settings import (
    Above,
    FeatureSettings,
    ResamplerSettings,
    Share,
    TrainSection,
    convert,
    read_toml,
    resolved_path,
)

# Pictures and video share the tower that stays frozen.
AlignedModality = Literal["audio", "depth", "thermal", "imu", "text"]


class PairSettings(TrainSection, frozen=True):
    files: Annotated[tuple[NonEmptyText, ...], Meta(min_length=1, description="JSON lists of pairs, joined in order")]
    media: Annotated[NonEmptyText, Meta(description="folder that the pairs' file names begin in")] = "."


class StepSettings(TrainSection, frozen=True):
    steps: Annotated[Positive, Meta(description="batches that are learned from")] = 1000
    batch: Annotated[Annotated[int, Meta(ge=2)], Meta(description="pairs of a step, each other's wrong answers")] = 64
    lr: Annotated[Above, Meta(description="highest learning rate")] = 5e-4
    warmup: Annotated[Share, Meta(description="share of the steps in which the rate rises; then it falls to 0")] = 0.05
    weight_decay: Annotated[float, Meta(ge=0, description="AdamW's")] = 0.2
    clip: Annotated[Above, Meta(description="largest norm of the gradient")] = 1.0
    temperature: Annotated[Above, Meta(description="of the softmax over cosines, at the start")] = 0.07
    learn_temperature: Annotated[bool, Meta(description="let the temperature be learned, down to 0.01")] = True
    start: Annotated[Literal["fresh", "folder"], Meta(description="new weights, or the folder's, trained on")] = (
        "folder"
    )
    seed: Annotated[CountOrZero, Meta(description="decides the order and the first weights")] = 0
    threads: Annotated[Positive, Meta(description="threads that read and decode media")] = 4
    checkpoint_every: Annotated[CountOrZero, Meta(description="steps between checkpoints; 0: none")] = 500
    device: Annotated[Literal["auto", "cpu"], Meta(description="auto: a GPU where there is one")] = "auto"


class AlignSettings(TrainSection, frozen=True):
    """Paths are relative to the file they stand in."""

    model: Annotated[
        NonEmptyText, Meta(description="model folder whose tower is aligned; all else of it stays as it is")
    ]
    out: Annotated[
        NonEmptyText, Meta(description="folder of the run: log, plot, and the model folder with the new tower")
    ]
    modality: Annotated[AlignedModality, Meta(description="the tower")]
    pairs: PairSettings
    soft_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_SOFT_TOKENS,
            description="above 1: the tower stays and a resampler over its tokens is aligned, with so many rows",
        ),
    ] = 0
    resampler: ResamplerSettings = ResamplerSettings()
    features: FeatureSettings = FeatureSettings()
    train: StepSettings = StepSettings()


def read_align_settings(path: Path) -> AlignSettings:
    """The settings of a TOML file, its paths made absolute. Raises InvalidRequest that names what is wrong."""
    base, replace = path.resolve().parent, msgspec.structs.replace
    raw = parse_align_settings(read_toml(path), path.name)
    files = tuple(resolved_path(base, file) for file in raw.pairs.files)
    pairs = replace(raw.pairs, files=files, media=resolved_path(base, raw.pairs.media))
    features = replace(raw.features, cache=resolved_path(base, raw.features.cache))
    return replace(
        raw, model=resolved_path(base, raw.model), out=resolved_path(base, raw.out), pairs=pairs, features=features
    )


def parse_align_settings(raw: dict[str, Any], name: str = "the settings") -> AlignSettings:
    return convert(raw, AlignSettings, name)
