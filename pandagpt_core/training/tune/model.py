"""The trained module: a projection, perhaps a resampler, and LoRA around a frozen language model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    LoraSpec,
    ModelFolder,
    ProjectedFolder,
    file_path,
    llm_path,
    read_shapes,
    read_tensors,
)
from pandagpt_core.encoders.resampler import PerceiverResampler
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.fusion import Projection, PrototypeRetrieval
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.batch import Batch, MediumTokens, Sums, answer_sums
from pandagpt_core.training.lora import LoraConfig, LoraLinear, add_lora
from pandagpt_core.training.tune.settings import LoraSettings


class Soft(nn.Module):
    """The projection [E] -> [D] with trained weight and bias; the recall of a folder that has one, as it is."""

    directions: Tensor | None

    def __init__(self, projection: Projection) -> None:
        super().__init__()
        self.weight = nn.Parameter(projection.weight)
        self.bias = nn.Parameter(projection.bias)
        self.sharpness = projection.recall.sharpness if projection.recall is not None else 0.0
        directions = projection.recall.directions if projection.recall is not None else None
        self.register_buffer("directions", directions, persistent=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[M, E] to [M, D]."""
        if self.directions is not None:
            embeddings = PrototypeRetrieval(self.directions, self.sharpness)(embeddings)
        return nn.functional.linear(embeddings, self.weight, self.bias)


class TrainableModel(nn.Module):
    """The language model with LoRA beside its layers, the projection, and the resampler of a model that has one.

    `lora` names the layers that have one.
    """

    def __init__(
        self,
        llm: Llama,
        projection: Soft,
        lora: Mapping[str, LoraLinear],
        resampler: PerceiverResampler | None = None,
    ) -> None:
        super().__init__()
        self.llm = llm
        self.projection = projection
        self.layers = tuple(lora)
        self.resampler = resampler

    def forward(self, batch: Batch) -> Sums:
        read = batch if self.resampler is None else resampled(self.resampler, batch)
        return answer_sums(self.llm, self.projection, read)


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of the parts; the encoder's buffers are counted with it."""

    trained: int
    encoder: int
    llm: int

    @property
    def share(self) -> float:
        """Trained over all: encoder, language model, and the trained part (0.4 % for PandaGPT-13B)."""
        return self.trained / (self.trained + self.encoder + self.llm)

    def __str__(self) -> str:
        every = self.trained + self.encoder + self.llm
        return f"trains {self.trained:,} of {every:,} parameters ({100 * self.share:.2f} %)"


def count(tuned: nn.Module, encoder: int) -> ParameterCount:
    """The module may lie on the meta device."""
    trained = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    return ParameterCount(trained, encoder, sum(p.numel() for p in tuned.parameters() if not p.requires_grad))


def encoder_size(path: Path, folder: ModelFolder) -> int:
    """Numbers in the encoder's files, from their headers."""
    files = (file_path(path, folder, ENCODER), *(path / name for name in folder.tower_files))
    return sum(torch.Size(shape).numel() for file in files for shape in read_shapes(file).values())


def build_trainable(path: Path, folder: ProjectedFolder, settings: LoraSettings, seed: int) -> TrainableModel:
    """On the CPU, float32 where it is trained and as stored where it is frozen; `seed` decides fresh weights.

    Raises InvalidRequest for targets that the model does not have, or another LoRA than the folder's to go on with.
    """
    llm = load_llama(llm_path(path, folder.llm))
    tensors = dict(read_tensors(path / ADAPTER, dtype=torch.float32))
    torch.manual_seed(seed)
    lora = with_lora(llm, settings)
    fresh = nn.Linear(folder.projection.in_dim, folder.projection.out_dim)
    weight, bias = fresh.weight.detach(), fresh.bias.detach()
    spec = folder.projection.recall  # PandaGPT's alone
    recall = None if spec is None else PrototypeRetrieval(tensors["projection.recall"], spec.sharpness)
    if settings.start == "folder":
        _check_same(folder.lora, settings)
        weight, bias = tensors["projection.weight"], tensors["projection.bias"]
        for name, layer in lora.items():
            layer.a.data = tensors[f"{name}.lora_A.weight"]
            layer.b.data = tensors[f"{name}.lora_B.weight"]
    return TrainableModel(llm, Soft(Projection(weight, bias, recall)), lora)


def with_lora(llm: Llama, settings: LoraSettings) -> dict[str, LoraLinear]:
    """LoRA beside every target of the model, which is frozen. Raises InvalidRequest for a target it does not have."""
    linears = {name.rpartition(".")[2] for name, module in llm.named_modules() if isinstance(module, Linear)}
    absent = [target for target in settings.targets if target not in linears - {"lm_head"}]
    if absent:
        has = ", ".join(sorted(linears - {"lm_head"}))
        raise InvalidRequest(f"lora.targets has {', '.join(absent)}; the language model has {has}")
    config = LoraConfig(r=settings.r, alpha=settings.alpha, dropout=settings.dropout, targets=settings.targets)
    return add_lora(llm, config)


def cast_frozen(llm: Llama, dtype: torch.dtype) -> None:
    """Keep frozen matrices in `dtype`; norms stay float32, as in service."""
    for module in llm.modules():
        if isinstance(module, Linear | nn.Embedding) and not module.weight.requires_grad:
            module.weight.data = module.weight.data.to(dtype)
        elif isinstance(weight := getattr(module, "weight", None), nn.Parameter) and not weight.requires_grad:
            weight.data = weight.data.float()


def enable_gradient_checkpointing(llm: Llama) -> None:
    """Let each layer compute its activations again in the backward pass (Chen et al. 2016), dropout included."""
    for layer in llm.model.layers:
        layer.__dict__["forward"] = partial(checkpoint, layer.forward, use_reentrant=False)


def _check_same(spec: LoraSpec | None, settings: LoraSettings) -> None:
    if spec is None or spec.merged:
        raise InvalidRequest("lora.start is folder, but the model folder has no LoRA of its own to go on with")
    for name in ("r", "alpha", "targets"):
        ours, theirs = getattr(settings, name), getattr(spec, name)
        if ours != theirs:
            raise InvalidRequest(
                f"lora.{name} is {ours!r}, the model folder's LoRA that it goes on with has {theirs!r}"
            )


def resampled(resampler: PerceiverResampler, batch: Batch) -> Batch:
    """The batch with what the resampler's queries read added to its vectors, k times each medium's embedding."""
    # Every parameter has a part, if none of the gradient, in every batch: data-parallel training waits for it.
    nothing = sum((parameter.sum() for parameter in resampler.parameters()), torch.zeros((), device=batch.keep.device))
    vectors = batch.vectors + 0 * nothing
    if batch.media:
        vectors = vectors + torch.cat(read_media(resampler, batch.media))
    return dataclasses.replace(batch, vectors=vectors)


def read_media(resampler: PerceiverResampler, media: tuple[MediumTokens, ...]) -> list[Tensor]:
    """[k, E] of each, the mean over its clips; media with as many tokens of one tower are read together."""
    alike: dict[tuple[str, int], list[int]] = {}
    for index, medium in enumerate(media):
        alike.setdefault((medium.tower, medium.tokens.shape[1]), []).append(index)
    found: dict[int, Tensor] = {}
    for (tower, _), members in alike.items():
        ones = [media[index] for index in members]
        keep = torch.cat([one.keep for one in ones if one.keep is not None]) if ones[0].keep is not None else None
        rows = resampler.towers[tower](torch.cat([one.tokens for one in ones]), keep)  # [clips, k, E]
        parts = torch.split(rows, [len(one.tokens) for one in ones])
        found |= {index: part.mean(dim=0) for index, part in zip(members, parts, strict=True)}
    return [found[index] for index in range(len(media))]
