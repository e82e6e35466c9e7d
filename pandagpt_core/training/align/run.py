"""`pandagpt align`: an alignment from its settings to a model folder, on one device."""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from pandagpt_core.checkpoints import (
    ENCODER,
    PandaGPTFolder,
    cast,
    file_path,
    own_encoder,
    read_folder_of,
    read_tensors,
    verify_files,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.align import checkpoint
from pandagpt_core.training.align.pairs import AlignPair, Reader, check_pairs, read_pairs
from pandagpt_core.training.align.resampling import AlignedResampler, check_alone, open_resampler, write_resampled
from pandagpt_core.training.align.settings import AlignSettings
from pandagpt_core.training.align.towers import TrainableTower, open_tower, stacked_arrays
from pandagpt_core.training.lora import LinearWarmupDecay
from pandagpt_core.training.optimise import optimise
from pandagpt_core.training.tune.checkpoint import RunFingerprint
from pandagpt_core.training.tune.data.encode import Encode, Source, encode_all
from pandagpt_core.training.tune.data.features import FeatureStore
from pandagpt_core.training.tune.data.order import Order
from pandagpt_core.training.tune.data.prepare import open_towers
from pandagpt_core.training.tune.data.samples import Medium, refuse
from pandagpt_core.training.tune.loop import seed_step
from pandagpt_core.training.tune.outputs import MODEL, link
from pandagpt_core.training.tune.record import ReportLine, TrainingRecord, plot_loss
from pandagpt_core.types import Modality

LEAST_TEMPERATURE = 0.01  # CLIP's bound: a logit is at most a hundred times a cosine
Alignable = TrainableTower | AlignedResampler


class Contrast(nn.Module):
    """InfoNCE between a tower's embeddings and frozen ones (van den Oord et al. 2018), both ways, as ImageBind trains.

    Its temperature is learned or not.
    """

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)

    @property
    def temperature(self) -> float:
        return float(1 / self._scale().detach())

    def forward(self, found: Tensor, wanted: Tensor, groups: Tensor) -> Tensor:
        """found, wanted: [N, E], of any length; `groups` [N] names the picture of each pair.

        Of several rows a medium, [N, k, E] in place of `found`, the nearest counts.

        Pairs of one picture are no wrong answers to one another: they share its place among the right ones.
        """
        logits = self._scale() * F.normalize(found, dim=-1) @ F.normalize(wanted, dim=-1).T
        logits = logits.amax(dim=1) if found.ndim == 3 else logits
        alike = (groups[:, None] == groups[None, :]).float()
        right = alike / alike.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2

    def _scale(self) -> Tensor:
        return self.log_scale.clamp(max=-math.log(LEAST_TEMPERATURE)).exp()


@dataclass(frozen=True, slots=True)
class Aligned:
    """The new model folder, the run's plot, and the temperature that was learned."""

    model: Path
    plot: Path
    temperature: float


def align(
    settings: AlignSettings,
    *,
    resume: bool = False,
    report: ReportLine = lambda _line: None,
    on_checkpoint: Callable[[int], None] = lambda _steps: None,
) -> Aligned:
    """Train one tower, or its resampler, so that its media lie where their pictures lie.

    Raises InvalidRequest, CheckpointError.

    resume: go on from the checkpoint of the run folder, or from the start where there is none yet.
    on_checkpoint: gets the number of steps that a checkpoint on disk has.
    """
    out, path, train = Path(settings.out), Path(settings.model), settings.train
    if (out / MODEL).exists():
        raise InvalidRequest(f"{out} holds an aligned model already; name another `out`")
    if not resume:
        checkpoint.refuse_to_write_over(out)
    folder = read_folder_of(path, PandaGPTFolder)
    verify_files(path, folder)
    modality = Modality(settings.modality)
    tower = _opened(settings, path, folder, modality)
    reader = Reader(Path(settings.pairs.media), folder.recipes[modality])
    pairs = read_pairs([Path(file) for file in settings.pairs.files], modality)
    if len(pairs) < train.batch:
        raise InvalidRequest(f"train.batch is {train.batch}, there are only {len(pairs)} pairs")
    check_pairs(pairs, reader)
    device = torch.device("cuda" if train.device == "auto" and torch.cuda.is_available() else "cpu")
    pictures = _pictures(settings, path, folder, pairs, device)
    count = sum(parameter.numel() for parameter in tower.parameters())
    what = f"resampler of the {modality} tower" if isinstance(tower, AlignedResampler) else f"{modality} tower"
    report(f"aligns the {what}, {count:,} parameters, by {len(pairs):,} pairs on {device.type}")
    out.mkdir(parents=True, exist_ok=True)
    contrast = Contrast(train.temperature, train.learn_temperature)
    fingerprint = checkpoint.run_fingerprint(settings, folder, pairs)
    _teach(settings, tower.to(device), contrast.to(device), pairs, reader, pictures, fingerprint, on_checkpoint)
    by = f"{modality} tower by pandagpt align"
    if isinstance(tower, AlignedResampler):
        model = write_resampled(out / MODEL, path, folder, tower.whole, tower.spec, f"resampler of the {by}")
    else:
        model = write_aligned(out / MODEL, path, folder, tower.state(), by)
    (out / checkpoint.FILE).unlink(missing_ok=True)
    return Aligned(model, plot_loss(out, "InfoNCE, nats"), contrast.temperature)


def _opened(settings: AlignSettings, path: Path, folder: PandaGPTFolder, modality: Modality) -> Alignable:
    """The trainable tower or resampler of the modality."""
    if settings.soft_tokens > 1:
        return open_resampler(path, folder, settings)
    check_alone(folder)
    fresh = settings.train.seed if settings.train.start == "fresh" else None
    return open_tower(path, folder, modality, fresh=fresh)


def _teach(
    settings: AlignSettings,
    tower: Alignable,
    contrast: Contrast,
    pairs: list[AlignPair],
    reader: Reader,
    pictures: dict[str, Tensor],
    fingerprint: RunFingerprint,
    on_checkpoint: Callable[[int], None],
) -> None:
    train, device, out = settings.train, contrast.log_scale.device, Path(settings.out)
    weights = [*tower.parameters(), *(p for p in contrast.parameters() if p.requires_grad)]
    groups = [{"params": weights, "highest": train.lr}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=train.weight_decay)
    order, ramp = Order(len(pairs), train.batch, train.seed), LinearWarmupDecay(train.steps, train.warmup)
    names = {name: index for index, name in enumerate(pictures)}
    done = checkpoint.load(out, (tower, contrast), optimizer, fingerprint)
    record, began = TrainingRecord(out, done), time.monotonic()
    steps = tqdm(range(done, train.steps), desc="aligning", initial=done, total=train.steps)

    def losses(step: int) -> Iterator[Tensor]:
        seed_step(train.seed, step, 0)  # of the tower's dropout
        chosen = [pairs[index] for index in order.of_step(step)]
        clips, counts = stacked_arrays(list(pool.map(reader, chosen)))
        wanted = torch.stack([pictures[pair.image] for pair in chosen]).to(device)
        same = torch.tensor([names[pair.image] for pair in chosen], device=device)
        yield contrast(tower(clips.to(device), counts), wanted, same)

    def after(step: int, loss: float, norm: float) -> None:
        nonlocal began
        ended = time.monotonic()
        record(
            step + 1,
            loss=loss,
            lr=optimizer.param_groups[0]["lr"],
            grad_norm=norm,
            temperature=contrast.temperature,
            seconds=round(ended - began, 3),
        )
        began = ended
        if train.checkpoint_every and (step + 1) % train.checkpoint_every == 0:
            checkpoint.save(out, step + 1, (tower, contrast), optimizer, fingerprint)
            on_checkpoint(step + 1)

    tower.train()
    with ThreadPoolExecutor(train.threads) as pool:
        optimise(optimizer, steps, losses, after, rate=ramp, clip=train.clip)
    tower.eval()


def _pictures(
    settings: AlignSettings, path: Path, folder: PandaGPTFolder, pairs: list[AlignPair], device: torch.device
) -> dict[str, Tensor]:
    """Embedding of each picture, by its name: encoded once, kept as for `pandagpt train`."""
    store = FeatureStore(Path(settings.features.cache), folder.towers_digest, folder.projection.in_dim)
    source = Source(Path(settings.pairs.media), folder.recipes, settings.features.threads, settings.features.batch)
    media = [Medium(Modality.IMAGE, name) for name in sorted({pair.image for pair in pairs})]

    def open_encoder() -> Encode:
        return open_towers(path, folder, str(device))

    outcome = encode_all(media, source, store, open_encoder)
    refuse([f"{medium.file}: {problem}" for medium, problem in outcome.problems.items()], "pictures cannot be used")
    return {medium.file: store[key] for medium, key in outcome.keys.items()}


def write_aligned(out: Path, base: Path, folder: PandaGPTFolder, tower: dict[str, Tensor], by: str) -> Path:
    """The base's folder with these weights of its encoder replaced, in the types they had; all else is linked."""
    out.mkdir(parents=True)
    held = dict(read_tensors(file_path(base, folder, ENCODER)))
    held |= {name: cast(tensor, held[name].dtype).contiguous() for name, tensor in tower.items()}
    files = {**folder.files, ENCODER: write_safetensors(out / ENCODER, held, held.__getitem__)}
    for file in folder.files:
        if file != ENCODER:
            link(file_path(base, folder, file), out / file)
    provenance = {**folder.provenance, "aligned": by}
    write_model_folder(
        out, msgspec.structs.replace(folder, encoder=own_encoder(folder), files=files, provenance=provenance)
    )
    return out
