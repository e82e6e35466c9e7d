"""The settings of a training run: a TOML file, read strictly; a mistake names the key, its value and the limit.

The defaults are PandaGPT's (Su et al. 2023, section 3, and its released configuration).
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from pandagpt_core.checkpoints.pandagpt import MOST_SOFT_TOKENS
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.field_bounds import CountOrZero, NonEmptyText, Positive

Above = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]


Kind = TypeVar("Kind", bound=msgspec.Struct)


class TrainSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file. The description of a field is its line in the guide."""


class DataSettings(TrainSection, frozen=True):
    files: Annotated[
        tuple[NonEmptyText, ...], Meta(min_length=1, description="JSON lists of conversations, joined in order")
    ]
    media: Annotated[NonEmptyText, Meta(description="folder that the conversations' file names begin in")] = "."
    ratios: Annotated[
        tuple[NotNegative, ...],
        Meta(description="how often each file is drawn from, one number a file; empty: as its conversations are many"),
    ] = ()
    broken: Annotated[
        Literal["stop", "skip"],
        Meta(description="what to do when a medium is missing or unreadable; either way each is named"),
    ] = "stop"
    max_tokens: Annotated[Positive, Meta(description="tokens of a conversation after its medium; the rest is cut")] = (
        512
    )


class FeatureSettings(TrainSection, frozen=True):
    cache: Annotated[NonEmptyText, Meta(description="folder where encoded media are kept, for every run to come")] = (
        ".cache/features"
    )
    batch: Annotated[Positive, Meta(description="clips that the encoder sees at once")] = 32
    threads: Annotated[Positive, Meta(description="threads that read and decode media")] = 4


class LoraSettings(TrainSection, frozen=True):
    start: Annotated[
        Literal["fresh", "folder"],
        Meta(description="a new projection and LoRA, or those of the model folder, trained on"),
    ] = "fresh"
    r: Annotated[Positive, Meta(description="rank")] = 32
    alpha: Annotated[Above, Meta(description="what the update is multiplied with, divided by r")] = 32.0
    dropout: Annotated[Share, Meta(description="of the update's input")] = 0.1
    targets: Annotated[tuple[NonEmptyText, ...], Meta(min_length=1, description="linear layers that get an update")] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    )


class ResamplerSettings(TrainSection, frozen=True):
    width: Annotated[Positive, Meta(description="of the resampler of each tower, a multiple of its heads")] = 512
    heads: Annotated[Positive, Meta(description="its attention heads")] = 8
    layers: Annotated[Positive, Meta(description="its layers")] = 2


class BindSettings(TrainSection, frozen=True):
    phase: Annotated[
        Literal["pretrain", "finetune"],
        Meta(description="of ImageBind-LLM: bind network, prefix queries and gates; or norms, biases and LoRA"),
    ] = "finetune"
    dropout: Annotated[
        Share, Meta(description="of the input of ImageBind-LLM's LoRA, whose sizes are the folder's")
    ] = 0.0


class TrainSettings(TrainSection, frozen=True):
    epochs: Annotated[Positive, Meta(description="times that every conversation is seen")] = 2
    max_steps: Annotated[CountOrZero, Meta(description="steps at most, also for the schedule; 0: by the epochs")] = 0
    batch: Annotated[Positive, Meta(description="conversations of a step, over all devices")] = 64
    micro_batch: Annotated[Positive, Meta(description="conversations that one device sees at once")] = 4
    lr: Annotated[Above, Meta(description="highest learning rate")] = 5e-4
    projection_lr: Annotated[float, Meta(ge=0, description="the projection's own highest learning rate; 0: lr")] = 0.0
    warmup: Annotated[Share, Meta(description="share of the steps in which the rate rises; then it falls")] = 0.03
    schedule: Annotated[Literal["linear", "cosine"], Meta(description="how the rate falls")] = "linear"
    floor: Annotated[Share, Meta(description="what it falls to, as a share of its highest")] = 0.0
    betas: Annotated[tuple[Share, Share], Meta(description="AdamW's two decay rates")] = (0.9, 0.95)
    weight_decay: Annotated[float, Meta(ge=0, description="AdamW's")] = 0.001
    clip: Annotated[Above, Meta(description="largest norm of the gradient")] = 1.0
    seed: Annotated[CountOrZero, Meta(description="decides the order, the first weights and the dropout")] = 0
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], Meta(description="of the products; auto is bf16 on a GPU that has it")
    ] = "auto"
    checkpointing: Annotated[
        bool, Meta(description="compute each layer's activations again in the backward pass: less memory, more time")
    ] = False
    device: Annotated[Literal["auto", "cpu"], Meta(description="auto: what accelerate finds")] = "auto"


class OutputSettings(TrainSection, frozen=True):
    checkpoint_every: Annotated[CountOrZero, Meta(description="steps between checkpoints; 0: at the end only")] = 500
    keep: Annotated[Positive, Meta(description="checkpoints that stay, the newest")] = 2
    id: Annotated[str, Meta(description="the trained model's name in the API; empty: the run folder's name")] = ""
    dtype: Annotated[Literal["float32", "float16"], Meta(description="of the adapter's weights on disk")] = "float32"
    original: Annotated[bool, Meta(description="also delta.safetensors, with PandaGPT's own key names")] = False
    peft: Annotated[bool, Meta(description="also a folder that the peft package loads")] = False


class TuneSettings(TrainSection, frozen=True):
    """Paths are relative to the file they stand in."""

    model: Annotated[NonEmptyText, Meta(description="model folder whose encoder and language model are used, frozen")]
    out: Annotated[
        NonEmptyText, Meta(description="folder of the run: checkpoints, log, plot, and the trained model folder")
    ]
    data: DataSettings
    soft_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_SOFT_TOKENS,
            description="PandaGPT's soft tokens a medium; 1: the paper's; more: by a resampler; 0: as the folder has",
        ),
    ] = 0
    resampler: ResamplerSettings = ResamplerSettings()
    features: FeatureSettings = FeatureSettings()
    lora: LoraSettings = LoraSettings()
    bind: BindSettings = BindSettings()
    train: TrainSettings = TrainSettings()
    output: OutputSettings = OutputSettings()

    def __post_init__(self) -> None:
        ratios = self.data.ratios
        if ratios and (len(ratios) != len(self.data.files) or not sum(ratios)):
            raise ValueError(
                f"data.ratios has {len(ratios)} numbers for {len(self.data.files)} files; one must be above 0"
            )
        if self.train.micro_batch > self.train.batch:
            raise ValueError(f"train.micro_batch is {self.train.micro_batch}, train.batch only {self.train.batch}")


def read_tune_settings(path: Path) -> TuneSettings:
    """The settings of a TOML file, its paths made absolute. Raises InvalidRequest that names what is wrong."""
    return _placed(parse_tune_settings(read_toml(path), path.name), path.resolve().parent)


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path.name} is no TOML: {error}") from None


def parse_tune_settings(raw: Mapping[str, Any], name: str = "the settings") -> TuneSettings:
    return convert(raw, TuneSettings, name)


def convert(raw: Mapping[str, Any], kind: type[Kind], name: str) -> Kind:
    """The settings as `kind`. Raises InvalidRequest that names key, value and limit."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name}: {_explained(str(error), raw, kind)}") from None


def resolved_path(base: Path, file: str) -> str:
    """The path of a file that is named from `base`, without the detours that the name makes."""
    return os.path.normpath(base / file)


def _placed(settings: TuneSettings, base: Path) -> TuneSettings:
    replace = msgspec.structs.replace
    data = replace(
        settings.data,
        files=tuple(resolved_path(base, file) for file in settings.data.files),
        media=resolved_path(base, settings.data.media),
    )
    features = replace(settings.features, cache=resolved_path(base, settings.features.cache))
    return replace(
        settings,
        model=resolved_path(base, settings.model),
        out=resolved_path(base, settings.out),
        data=data,
        features=features,
    )


_COMPLAINT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<at>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_ABSENT = re.compile(r"Object missing required field `(.*)`")


def _explained(message: str, raw: Mapping[str, Any], kind: type[msgspec.Struct]) -> str:
    """msgspec's message with the value that it complains of, and for an unknown key those there are."""
    found = _COMPLAINT.fullmatch(message)
    assert found is not None
    what, at = found["what"], found["at"] or ""
    if unknown := _UNKNOWN.fullmatch(what):
        return _no_such_key(".".join(filter(None, [at, unknown[1]])), kind)
    if absent := _ABSENT.fullmatch(what):
        return f"{'.'.join(filter(None, [at, absent[1]]))} is missing"
    if not at:
        return what
    value: Any = raw
    for step in re.findall(r"[^.\[\]]+", at):
        value = value[int(step) if step.isdigit() else step]
    choices = next((key.choices for key in described(kind) if key.name == at), ())
    wanted = f"expected {' or '.join(choices)}" if choices else f"{what[0].lower()}{what[1:]}"
    return f"{at} is {value!r}; {wanted}"


def _no_such_key(key: str, kind: type[msgspec.Struct]) -> str:
    known = [known.name for known in described(kind)]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no {key}; {hint}"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its dotted name, its default as TOML (empty where it must be given), its line in the guide."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...]


def described(of: type[msgspec.Struct] = TuneSettings, above: str = "") -> Iterator[Key]:
    """Every key in the file's order."""
    for field in msgspec.structs.fields(of):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from described(field.type, f"{above}{field.name}.")
            continue
        kind, *metas = get_args(field.type)
        default = "" if field.required else msgspec.json.encode(field.default).decode()
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        [description] = [meta.description for meta in metas if meta.description]
        yield Key(f"{above}{field.name}", default, description, choices)


def table(of: type[msgspec.Struct] = TuneSettings) -> str:
    """The keys as the guide shows them."""
    lines = ["| key | default | what it is |", "| --- | --- | --- |"]
    for key in described(of):
        choices = f" ({', '.join(key.choices)})" if key.choices else ""
        default = f"`{key.default.replace(',', ', ')}`" if key.default else "must be given"
        lines.append(f"| `{key.name}` | {default} | {key.description}{choices} |")
    return "\n".join(lines) + "\n"
