"""`pandagpt train`: a training run from its settings to a model folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from pandagpt_core.checkpoints import (
    ImageBindLLMFolder,
    ProjectedFolder,
    read_model_folder,
    verify_files,
)
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.tune import checkpoint, outputs
from pandagpt_core.training.tune.bind_model import TrainableBind, adapter_state, build_bind
from pandagpt_core.training.tune.data.dataset import TrainSet
from pandagpt_core.training.tune.data.layout import Trained
from pandagpt_core.training.tune.data.order import Division, MixedOrder, Order
from pandagpt_core.training.tune.data.prepare import OpenEncoder, learn_from, open_towers
from pandagpt_core.training.tune.devices import (
    OpenDevices,
    check_accumulation,
    configure_deepspeed,
    described,
    frozen_dtype,
    open_accelerator,
)
from pandagpt_core.training.tune.loop import TrainPlan, train_loop
from pandagpt_core.training.tune.model import (
    TrainableModel,
    build_trainable,
    cast_frozen,
    count,
    enable_gradient_checkpointing,
    encoder_size,
)
from pandagpt_core.training.tune.record import ReportLine, TrainingRecord, plot_loss, read_log
from pandagpt_core.training.tune.settings import TuneSettings
from pandagpt_core.training.tune.soft_tokens import resampler_spec, trainable_resampler

Tuned = TrainableModel | TrainableBind


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Finished steps of the run, and the files it has written; no model yet where it was stopped early."""

    step: int
    steps: int
    written: Mapping[str, Path] = field(default_factory=dict)


def train(
    settings: TuneSettings,
    *,
    resume: bool = False,
    stop_after: int = 0,
    report: ReportLine = lambda _line: None,
    open_encoder: OpenEncoder = open_towers,
    open_devices: OpenDevices = open_accelerator,
) -> TrainResult:
    """Train by the settings; every process of a distributed run calls it alike.

    resume: go on from the newest checkpoint of the run folder, or from the start where a run died before its first.
    Without it a folder that a run has logged a step in is left alone. stop_after: end after so many steps in all, with
    a checkpoint to go on from. Raises InvalidRequest and CheckpointError.
    """
    accelerator = open_devices(settings.train)
    report_once: ReportLine = report if accelerator.is_main_process else lambda _line: None
    out, path = Path(settings.out), Path(settings.model)
    last = checkpoint.newest(out)
    logged = len(read_log(out))
    if not resume:
        _refuse_to_write_over(out, last, logged)
    folder = trainable_folder(path)
    verify_files(path, folder)
    accelerator.wait_for_everyone()
    out.mkdir(parents=True, exist_ok=True)

    train_set = learn_from(settings, path, folder, accelerator, report_once, open_encoder)
    division = Division(settings.train.batch, settings.train.micro_batch, accelerator.num_processes)
    order = order_of(settings, train_set)
    steps = settings.train.max_steps or order.steps(settings.train.epochs)
    tuned = build_of(path, folder, settings)
    cast_frozen(tuned.llm, frozen_dtype(accelerator))
    if settings.train.checkpointing:
        enable_gradient_checkpointing(tuned.llm)
    report_once(f"{count(tuned, encoder_size(path, folder))} on {described(accelerator)}")
    report_once(f"{len(train_set.examples):,} conversations, {steps:,} steps of {settings.train.batch}")

    optimizer = _optimizer(tuned, settings)
    accelerator.gradient_accumulation_steps = division.accumulated
    configure_deepspeed(accelerator, settings)
    model, prepared = accelerator.prepare(tuned, optimizer)
    check_accumulation(accelerator, division.accumulated)
    fingerprint = _fingerprint(settings, folder, train_set, steps)
    done = checkpoint.load(last, accelerator, model, prepared, fingerprint) if last is not None else 0
    if done:
        report_once(f"goes on after step {done}")
    elif logged:
        report_once(f"begins again: of the {logged} steps in the log there is no checkpoint")
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
    """The trainable module of the folder's system."""
    if isinstance(folder, ImageBindLLMFolder):
        return build_bind(path, folder, settings.bind.phase, folder.bind.features, settings.bind.dropout)
    tuned = build_trainable(path, folder, settings.lora, settings.train.seed)
    tuned.resampler = trainable_resampler(path, folder, resampler_spec(folder, settings), settings)
    return tuned


def order_of(settings: TuneSettings, train_set: TrainSet) -> Order | MixedOrder:
    """By the stated ratios of the files; without them every conversation as often as any other."""
    train, ratios = settings.train, settings.data.ratios
    if not ratios:
        return Order(len(train_set.examples), train.batch, train.seed)
    members = [tuple(i for i, one in enumerate(train_set.examples) if one.file == at) for at in range(len(ratios))]
    return MixedOrder(tuple(members), ratios, train.batch, train.seed)


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
    """All values that the losses depend on, flat. The division of a batch over devices and the precision are free."""
    free = {"micro_batch", "precision", "checkpointing", "device", "epochs", "max_steps"}
    fingerprint: dict[str, Any] = {"model": folder.files, "encoder": folder.encoder_digest, "lessons": train_set.digest}
    fingerprint["train.steps"] = steps
    part, own = ("bind", settings.bind) if isinstance(folder, ImageBindLLMFolder) else ("lora", settings.lora)
    fingerprint |= {f"{part}.{name}": value for name, value in msgspec.structs.asdict(own).items()}
    if (spec := resampler_spec(folder, settings)) is not None:
        fingerprint["soft_tokens"] = msgspec.to_builtins(spec)
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
    weights = outputs.cast_state(outputs.resampler_of(trained), wanted.dtype)
    spec = resampler_spec(folder, settings)
    soft = None if spec is None else (spec, weights)
    model = outputs.write_model(out / outputs.MODEL, path, folder, adapter, settings.lora, name, provenance, soft)
    written = {"model": model}
    if wanted.original:
        written["original"] = outputs.write_delta(out / outputs.DELTA, adapter)
    if wanted.peft:
        base = folder.llm.package or str(path / (folder.llm.folder or ""))
        written["peft"] = outputs.write_peft(out / outputs.PEFT, adapter, settings.lora, base, weights)
    return written


def _refuse_to_write_over(out: Path, last: Path | None, logged: int) -> None:
    if last is not None:
        raise InvalidRequest(f"{out} holds a run already; --resume goes on with it, another `out` begins anew")
    if logged:
        raise InvalidRequest(
            f"{out} holds the log of a run that ended after {logged} steps, before its first checkpoint; "
            "--resume begins it again, another `out` leaves it as it is"
        )
