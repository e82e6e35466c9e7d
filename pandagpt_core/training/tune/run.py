"""A training run from its settings to a model folder: what `pandagpt train` does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from pandagpt_core.checkpoints import (
    ImageBindLLMFolder,
    MiniGPTv2Folder,
    ModelFolder,
    ProjectedFolder,
    llm_path,
    read_model_folder,
    verify_files,
)
from pandagpt_core.encoders.base import encode_items
from pandagpt_core.encoders.eva_vit import EvaSizes
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.training.tune import checkpoint, outputs
from pandagpt_core.training.tune.bind_model import TrainableBind, adapter_state, build_bind
from pandagpt_core.training.tune.dataset import TrainSet, examples_of, media_of
from pandagpt_core.training.tune.devices import device_name, frozen_dtype, open_accelerator
from pandagpt_core.training.tune.encode import Encode, EncodeOutcome, Source, encode_all
from pandagpt_core.training.tune.features import FeatureStore
from pandagpt_core.training.tune.layout import Trained, layout_of
from pandagpt_core.training.tune.loop import TrainPlan, train_loop
from pandagpt_core.training.tune.model import (
    TrainableModel,
    build,
    cast_frozen,
    count,
    enable_gradient_checkpointing,
    encoder_size,
)
from pandagpt_core.training.tune.order import Division, MixedOrder, Order
from pandagpt_core.training.tune.record import TrainingRecord, plot_loss, read_log
from pandagpt_core.training.tune.samples import ChatSample, read_samples
from pandagpt_core.training.tune.settings import TuneSettings

Tell = Callable[[str], object]
OpenEncoder = Callable[[Path, Any, str], Encode]
Tuned = TrainableModel | TrainableBind


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Steps behind the run, and what it has written; no model yet where it was stopped early."""

    step: int
    steps: int
    written: Mapping[str, Path] = field(default_factory=dict)


def open_towers(path: Path, folder: ModelFolder, device: str) -> Encode:
    """The folder's own encoder, frozen."""
    encoder = load_encoder(path, folder, device)
    return torch.inference_mode()(lambda modality, arrays: encode_items(encoder, modality, arrays, device))


def train(
    settings: TuneSettings,
    *,
    resume: bool = False,
    stop_after: int = 0,
    tell: Tell = lambda _line: None,
    open_encoder: OpenEncoder = open_towers,
) -> TrainResult:
    """Train by the settings; every process of a distributed run calls it alike.

    resume: go on from the newest checkpoint of the run folder, or from the start where a run died before its first.
    Without it a folder that a run has logged a step in is left alone. stop_after: end after so many steps in all, with
    a checkpoint to go on from. Raises InvalidRequest and CheckpointError.
    """
    accelerator = open_accelerator(settings.train)
    told: Tell = tell if accelerator.is_main_process else lambda _line: None
    out, path = Path(settings.out), Path(settings.model)
    last = checkpoint.newest(out)
    logged = len(read_log(out))
    if not resume:
        _refuse_to_write_over(out, last, logged)
    folder = trainable_folder(path)
    verify_files(path, folder)
    accelerator.wait_for_everyone()
    out.mkdir(parents=True, exist_ok=True)

    train_set = learn_from(settings, path, folder, accelerator, told, open_encoder)
    division = Division(settings.train.batch, settings.train.micro_batch, accelerator.num_processes)
    order = order_of(settings, train_set)
    steps = settings.train.max_steps or order.steps(settings.train.epochs)
    tuned = build_of(path, folder, settings)
    cast_frozen(tuned.llm, frozen_dtype(accelerator))
    if settings.train.checkpointing:
        enable_gradient_checkpointing(tuned.llm)
    told(f"{count(tuned, encoder_size(path))} on {_devices(accelerator)}")
    told(f"{len(train_set.examples):,} conversations, {steps:,} steps of {settings.train.batch}")

    optimizer = _optimizer(tuned, settings)
    accelerator.gradient_accumulation_steps = division.accumulated
    _tell_deepspeed(accelerator, settings)
    model, prepared = accelerator.prepare(tuned, optimizer)
    _check_accumulation(accelerator, division)
    fingerprint = _fingerprint(settings, folder, train_set, steps)
    done = checkpoint.load(last, accelerator, model, prepared, fingerprint) if last is not None else 0
    if done:
        told(f"goes on after step {done}")
    elif logged:
        told(f"begins again: of the {logged} steps in the log there is no checkpoint")
    record = TrainingRecord(out, done) if accelerator.is_main_process else None
    plan = TrainPlan(settings.train, order, division, steps)
    until = min(steps, stop_after or steps)
    every = settings.output.checkpoint_every

    def after(step: int) -> None:
        if step == until or (every and step % every == 0):
            checkpoint.save(out, step, accelerator, model, prepared, fingerprint, settings.output.keep)

    train_loop(plan, train_set, accelerator, model, prepared, range(done, until), record, after)
    trained = checkpoint.trained_state(accelerator, model)
    written: dict[str, Path] = {}
    if accelerator.is_main_process:
        written["log"], written["plot"] = out / "log.jsonl", plot_loss(out)
        if until == steps:
            written |= _write(settings, path, folder, tuned, trained, fingerprint)
    accelerator.wait_for_everyone()
    return TrainResult(max(done, until), steps, written)


def trainable_folder(path: Path) -> Trained:
    """Raises InvalidRequest for a system that is not trained here."""
    folder = read_model_folder(path)
    if not isinstance(folder, ProjectedFolder | ImageBindLLMFolder):
        raise InvalidRequest(f"{folder.id} is of the system {folder.system}, which is not trained here")
    return folder


def build_of(path: Path, folder: Trained, settings: TuneSettings) -> Tuned:
    """What is trained of the folder's system."""
    if isinstance(folder, ImageBindLLMFolder):
        return build_bind(path, folder, settings.bind.phase, folder.bind.features, settings.bind.dropout)
    return build(path, folder, settings.lora, settings.train.seed)


def features_of(folder: Trained) -> int:
    """E of the shared space."""
    return folder.bind.features if isinstance(folder, ImageBindLLMFolder) else folder.projection.in_dim


def rows_of(folder: Trained) -> int:
    """Rows that a medium has in a prompt; 0 where all media of a conversation have one together."""
    return EvaSizes.from_config(folder.encoder.sizes).rows if isinstance(folder, MiniGPTv2Folder) else 0


def order_of(settings: TuneSettings, train_set: TrainSet) -> Order | MixedOrder:
    """By the stated ratios of the files; without them every conversation as often as any other."""
    train, ratios = settings.train, settings.data.ratios
    if not ratios:
        return Order(len(train_set.examples), train.batch, train.seed)
    members = [tuple(i for i, one in enumerate(train_set.examples) if one.file == at) for at in range(len(ratios))]
    return MixedOrder(tuple(members), ratios, train.batch, train.seed)


def learn_from(
    settings: TuneSettings,
    path: Path,
    folder: Trained,
    accelerator: Accelerator,
    tell: Tell,
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


def _optimizer(tuned: Tuned, settings: TuneSettings) -> torch.optim.Optimizer:
    train = settings.train
    if isinstance(tuned, TrainableBind):
        every = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            [{"params": every, "highest": train.lr}], lr=train.lr, betas=train.betas, weight_decay=train.weight_decay
        )
    lora = [p for name, p in tuned.named_parameters() if p.requires_grad and not name.startswith("projection.")]
    groups = [
        {"params": lora, "lr": train.lr, "highest": train.lr},
        {"params": [*tuned.projection.parameters()], "highest": train.projection_lr or train.lr},
    ]
    return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay)


def _fingerprint(settings: TuneSettings, folder: Trained, train_set: TrainSet, steps: int) -> dict[str, Any]:
    """All that the losses depend on, flat. How a batch is divided over devices, and in which precision, is free."""
    free = {"micro_batch", "precision", "checkpointing", "device", "epochs", "max_steps"}
    fingerprint: dict[str, Any] = {"model": folder.files, "encoder": folder.encoder_digest, "lessons": train_set.digest}
    fingerprint["train.steps"] = steps
    part, own = ("bind", settings.bind) if isinstance(folder, ImageBindLLMFolder) else ("lora", settings.lora)
    fingerprint |= {f"{part}.{name}": value for name, value in msgspec.structs.asdict(own).items()}
    fingerprint |= {
        f"train.{name}": v for name, v in msgspec.structs.asdict(settings.train).items() if name not in free
    }
    return fingerprint


def _write(
    settings: TuneSettings,
    path: Path,
    folder: Trained,
    tuned: Tuned,
    trained: outputs.State,
    fingerprint: dict[str, Any],
) -> dict[str, Path]:
    out, wanted = Path(settings.out), settings.output
    provenance = {
        "made_by": "pandagpt train",
        **{key: fingerprint[key] for key in fingerprint if key not in ("model", "encoder")},
    }
    name = wanted.id or out.name
    if isinstance(folder, ImageBindLLMFolder):
        assert isinstance(tuned, TrainableBind)
        whole = outputs.cast_state(adapter_state(tuned, trained), wanted.dtype)
        return {"model": outputs.write_bind(out / outputs.MODEL, path, folder, whole, name, provenance)}
    adapter = outputs.cast_state(outputs.adapter_of(trained), wanted.dtype)
    model = outputs.write_model(out / outputs.MODEL, path, folder, adapter, settings.lora, name, provenance)
    written = {"model": model}
    if wanted.original:
        written["original"] = outputs.write_delta(out / outputs.DELTA, adapter)
    if wanted.peft:
        base = folder.llm.package or str(path / (folder.llm.folder or ""))
        written["peft"] = outputs.write_peft(out / outputs.PEFT, adapter, settings.lora, base)
    return written


def _refuse_to_write_over(out: Path, last: Path | None, logged: int) -> None:
    if last is not None:
        raise InvalidRequest(f"{out} holds a run already; --resume goes on with it, another `out` begins anew")
    if logged:
        raise InvalidRequest(
            f"{out} holds the log of a run that ended after {logged} steps, before its first checkpoint; "
            "--resume begins it again, another `out` leaves it as it is"
        )


def _check_accumulation(accelerator: Accelerator, division: Division) -> None:
    """DeepSpeed takes its own configuration's number, if that has one, in place of the run's."""
    theirs = accelerator.gradient_accumulation_steps
    if theirs != division.accumulated:
        raise InvalidRequest(
            f"accelerate's configuration has gradient_accumulation_steps {theirs}, train.batch and train.micro_batch "
            f"make it {division.accumulated}; leave it out there"
        )


def _tell_deepspeed(accelerator: Accelerator, settings: TuneSettings) -> None:
    """It takes the size of a micro-batch from a data loader, which there is none of here."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = settings.train.micro_batch
        plugin.deepspeed_config["gradient_clipping"] = settings.train.clip


def _devices(accelerator: Accelerator) -> str:
    kind = f"{accelerator.num_processes} x {accelerator.device.type}"
    return f"{kind}, {'float32' if accelerator.mixed_precision == 'no' else accelerator.mixed_precision}"
