"""MiniGPT-v2's downloads turned into one model folder, strictly and in a stream.

Two ways in: EVA ViT-g's file, a LLaMA-2-chat folder and the small checkpoint that the runner saved; or a whole state
dict in the checkpoint's place, whose encoder and language model are then taken too.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    MINIGPT_V2_CHECKPOINT,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    MiniGPTv2Folder,
    ProjectionSpec,
    Shape,
    account,
    adapter_shapes,
    file_digest,
    module_shapes,
    renamed,
)
from pandagpt_core.convert.atomic_folder import ProgressOf, check_max_model_len, refuse_existing, silent
from pandagpt_core.convert.llm import FOLDER, expected_shapes, plan_llm
from pandagpt_core.convert.parts import Part, opened, plan_part
from pandagpt_core.convert.projection_folders import ProjectedPlan, lora_rank, write_projected
from pandagpt_core.encoders.eva_vit import RECIPE, EvaSizes, EvaVit, interpolate_positions
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.weights import read_config
from pandagpt_core.types import Modality

# The demo samples with these (Chat.answer, demo_v2.py); at temperature 0 the penalty alone stays.
DEMO_SAMPLING: Mapping[str, float] = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05}
PROJECTIONS = ("q_proj", "v_proj")
_VIT, _LN, _LLM = "visual_encoder.", "ln_vision.", "llama_model.base_model.model."
_POSITIONS = "pos_embed"
# The keys of EVA's file after the last block. MiniGPT-v2 builds none of these parts, nor the block after
# `sizes.blocks`.
_UNREAD = re.compile(r"(fc_norm|norm|head)\.(weight|bias)")
_RECOMPUTED = re.compile(r"(llama_model\.base_model\.model\.)?model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")

NewName = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class MiniGPTv2Originals:
    """eva_vit_g.pth; a LLaMA-2-chat folder in Hugging Face's layout; the checkpoint, without which there is no LoRA and
    the projection is drawn at random, for training.

    eva may be left out where the checkpoint is a whole state dict. ln_vision: a file that holds `ln_vision.weight` and
    `.bias`, such as BLIP-2's; without it, and without them in the checkpoint, they are 1 and 0, as MiniGPT-v2's own
    code leaves them.
    """

    llm: Path
    eva: Path | None = None
    checkpoint: Path | None = None
    ln_vision: Path | None = None


@dataclass(frozen=True, slots=True)
class MiniGPTv2Options:
    """Options of a conversion. `dtype` None keeps a file's own type. Heads do not show in shapes, so `sizes` has
    them."""

    model_id: str
    sizes: EvaSizes = EvaSizes()  # noqa: RUF009 - frozen
    lora_alpha: float = 16.0
    dtype: torch.dtype | None = None
    max_model_len: int | None = None


def plan_minigpt_v2(originals: MiniGPTv2Originals, options: MiniGPTv2Options) -> ProjectedPlan:
    """Read headers only. Raises KeyMismatch, which lists every key that is missing, left over or misshapen."""
    config = read_config(originals.llm)
    check_max_model_len(options.max_model_len, config)
    projection = ProjectionSpec(in_dim=options.sizes.row_width, out_dim=config.width)
    whole = originals.checkpoint is not None and is_whole(originals.checkpoint)
    adapter, lora = None, None
    if originals.checkpoint is not None:
        adapter = plan_part(ADAPTER, originals.checkpoint, _adapter_names(whole))
        rank = lora_rank(originals.checkpoint.name, adapter.shapes())
        lora = LoraSpec(r=rank, alpha=options.lora_alpha, targets=PROJECTIONS)
        shapes = adapter_shapes(projection, lora, expected_shapes(config))
        account(originals.checkpoint.name, shapes, adapter.shapes())
    llm = _whole_llm(originals, config) if whole else plan_llm(originals.llm, config)
    return ProjectedPlan(_plan_encoder(originals, options.sizes, whole), adapter, llm, projection, lora, config)


def convert_minigpt_v2(
    originals: MiniGPTv2Originals, out: Path, options: MiniGPTv2Options, progress: ProgressOf = silent
) -> MiniGPTv2Folder:
    """Write the model folder `out`, which must not exist; it appears whole or not at all.

    Raises CheckpointError, and KeyMismatch before anything is written.
    """
    refuse_existing(out)
    plan = plan_minigpt_v2(originals, options)
    described = describe(originals, plan, options)
    return write_projected(out, originals.llm, plan, described, options.dtype, progress)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint holds the encoder and the language model too."""
    with opened(checkpoint) as (held, _):
        return any(key.startswith(_VIT) for key in held)


def describe(originals: MiniGPTv2Originals, plan: ProjectedPlan, options: MiniGPTv2Options) -> MiniGPTv2Folder:
    """config.json's content but for `files`, which are yet to be written."""
    named = {"eva": originals.eva, "checkpoint": originals.checkpoint, "ln_vision": originals.ln_vision}
    files = {of: {"file": path.name, "sha256": file_digest(path)} for of, path in named.items() if path is not None}
    provenance: dict[str, Any] = {"made_by": "pandagpt convert", **files, "llm": {"folder": originals.llm.name}}
    return MiniGPTv2Folder(
        id=options.model_id,
        encoder=EncoderSpec(kind="eva-vit", sizes=options.sizes.to_config()),
        projection=plan.projection,
        lora=plan.lora,
        llm=LLMSpec(folder=FOLDER),
        recipes={Modality.IMAGE: RECIPE},
        files={},
        sampling_defaults=dict(DEMO_SAMPLING),
        max_model_len=options.max_model_len or plan.config.max_positions,
        created=int(time.time()),
        provenance=provenance,
    )


def _plan_encoder(originals: MiniGPTv2Originals, sizes: EvaSizes, whole: bool) -> Part:
    """EVA under its own names, its positions at `sizes.image`, and `ln_vision`, after a strict account."""
    source = originals.checkpoint if originals.eva is None and whole else originals.eva
    if source is None:
        raise CheckpointError("EVA's file must be named: the checkpoint does not hold the encoder")
    part = plan_part(ENCODER, source, _encoder_names(sizes, prefix=_VIT if is_whole(source) else ""))
    expected = module_shapes(EvaVit(sizes))
    if not any(key.startswith(_LN) for key in part.keys):
        part = replace(part, extra=_ln_vision(originals.ln_vision, sizes))
    found = {key: tuple(tensor.shape) for key, tensor in {**part.layout, **part.extra}.items()}
    found[_POSITIONS] = _positions_shape(found.get(_POSITIONS, ()), expected[_POSITIONS])
    account(source.name, expected, found)
    patches = sizes.patches
    return replace(part, changes={_POSITIONS: lambda positions: interpolate_positions(positions, patches)})


def _encoder_names(sizes: EvaSizes, prefix: str) -> NewName:
    """New names of the keys of the blocks in use; the other keys of a whole state dict belong to other parts."""
    after_last = f"blocks.{sizes.blocks}."

    def name(key: str) -> str | None:
        if prefix and not key.startswith((prefix, _LN)):
            return None
        own = key.removeprefix(prefix)
        return None if own.startswith(after_last) or _UNREAD.fullmatch(own) else own

    return name


def _adapter_names(whole: bool) -> NewName:
    """The projection and LoRA pairs; rotary tables are computed anew. Other keys of a whole one are other parts'."""

    def name(key: str) -> str | None:
        new = renamed([key], MINIGPT_V2_CHECKPOINT)[key]
        others = key.startswith((_VIT, _LN)) or (key.startswith(_LLM) and new == key)
        return None if _RECOMPUTED.fullmatch(key) or (whole and others) else new

    return name


def _whole_llm(originals: MiniGPTv2Originals, config: LlamaConfig) -> list[Part]:
    """The language model out of a whole state dict; peft 0.2.0 wraps its head, so that it is `lm_head.0`."""
    assert originals.checkpoint is not None

    def name(key: str) -> str | None:
        if not key.startswith(_LLM) or ".lora_" in key or _RECOMPUTED.fullmatch(key):
            return None
        return key.removeprefix(_LLM).replace("lm_head.0.", "lm_head.")

    part = plan_part(f"{FOLDER}/model.safetensors", originals.checkpoint, name)
    account(f"{originals.checkpoint.name} (the language model)", expected_shapes(config), part.shapes())
    return [part]


def _ln_vision(path: Path | None, sizes: EvaSizes) -> dict[str, torch.Tensor]:
    names = (f"{_LN}weight", f"{_LN}bias")
    if path is None:
        return dict(zip(names, (torch.ones(sizes.width), torch.zeros(sizes.width)), strict=True))
    with opened(path) as (held, fetch):
        absent = [name for name in names if name not in held]
        if absent:
            raise CheckpointError(f"{path.name} holds no {' and no '.join(absent)}")
        return {name: fetch(name).clone() for name in names}


def _positions_shape(found: Shape, expected: Shape) -> Shape:
    """Any square grid of the right width counts as the expected one: it is interpolated."""
    grid = torch.empty(found, device="meta")
    if grid.ndim != 3 or found[::2] != expected[::2]:
        return found
    return tuple(interpolate_positions(grid, expected[1] - 1).shape)
