"""The original PandaGPT's three downloads turned into one model folder, strictly and in a stream."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    PANDAGPT_DELTA,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    PandaGPTFolder,
    PandaGPTTemplate,
    ProjectionSpec,
    Shape,
    account,
    adapter_shapes,
    file_digest,
    module_shapes,
    renamed,
)
from pandagpt_core.convert import embedding_gemma2, languagebind
from pandagpt_core.convert.atomic_folder import ProgressOf, check_max_model_len, refuse_existing, silent
from pandagpt_core.convert.described_by import licence_of, template_of
from pandagpt_core.convert.embedding_gemma2 import EmbeddingGemma2Folder
from pandagpt_core.convert.languagebind import LanguageBindFolders
from pandagpt_core.convert.llm import FOLDER, expected_shapes, plan_llm, read_bos
from pandagpt_core.convert.parts import Part, plan_part
from pandagpt_core.convert.projection_folders import ProjectedPlan, lora_rank, write_projected
from pandagpt_core.encoders.embedding_gemma2 import EmbeddingGemma2Sizes
from pandagpt_core.encoders.imagebind import POINT_PART, ImageBind
from pandagpt_core.encoders.languagebind import LanguageBindSizes
from pandagpt_core.encoders.sizes import HUGE, HUGE_3D, TOWERS, ImageBindSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.weights import read_config

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")  # as PandaGPT trained (its paper, section 3)
# As their authors publish them: neither may be used commercially.
IMAGEBIND_LICENCE = "CC BY-NC-SA 4.0"
PANDAGPT_LICENCE = "CC BY-NC 4.0"
DEMO_SAMPLING: Mapping[str, float] = {"temperature": 1.0, "top_p": 0.01}  # the original demo's; greedy in effect


EncoderFiles = Path | LanguageBindFolders | EmbeddingGemma2Folder
EncoderSizes = ImageBindSizes | LanguageBindSizes | EmbeddingGemma2Sizes


@dataclass(frozen=True, slots=True)
class PandaGPTOriginals:
    """imagebind_huge.pth, LanguageBind's folders or EmbeddingGemma 2's; a Vicuna folder in Hugging Face's layout;
    PandaGPT's pytorch_model.pt.

    Without the last the folder is one to train: its projection is drawn at random, and it has no LoRA.
    """

    imagebind: EncoderFiles
    llm: Path
    delta: Path | None = None


@dataclass(frozen=True, slots=True)
class PandaGPTOptions:
    """Options of a conversion. `dtype` None keeps each file's own type; `lora_alpha` None means r, as PandaGPT trained.

    `template` None is the one that the language model's folder belongs to. `licence` is the language model's, None for
    what its folder states. Attention heads do not show in a checkpoint's shapes, so `sizes` must be given for an
    encoder other than huge.
    """

    model_id: str
    template: PandaGPTTemplate | None = None
    licence: str | None = None
    sizes: ImageBindSizes = HUGE
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] = PROJECTIONS
    dtype: torch.dtype | None = None
    max_model_len: int | None = None


def plan_pandagpt(originals: PandaGPTOriginals, options: PandaGPTOptions) -> ProjectedPlan:
    """Read headers only. Raises KeyMismatch, which lists every key that is missing, left over or misshapen."""
    config = read_config(originals.llm)
    kind = _kind(originals.imagebind)
    sizes = kind.sizes(originals.imagebind, options)
    encoder, *towers = kind.plan(originals.imagebind, sizes)
    projection = ProjectionSpec(in_dim=sizes.out, out_dim=config.width)
    check_max_model_len(options.max_model_len, config)
    adapter, lora = None, None
    if originals.delta is not None:
        adapter = plan_part(ADAPTER, originals.delta, _new_name)
        lora = lora_spec(originals.delta.name, adapter.shapes(), options)
        account(originals.delta.name, adapter_shapes(projection, lora, expected_shapes(config)), adapter.shapes())
    llm = plan_llm(originals.llm, config)
    return ProjectedPlan(encoder, adapter, llm, projection, lora, config, tuple(towers))


def convert_pandagpt(
    originals: PandaGPTOriginals, out: Path, options: PandaGPTOptions, progress: ProgressOf = silent
) -> PandaGPTFolder:
    """Write the model folder `out`, which must not exist; it appears whole or not at all.

    Raises CheckpointError, and KeyMismatch before anything is written.
    """
    refuse_existing(out)
    plan = plan_pandagpt(originals, options)
    described = describe(originals, plan, options)
    return write_projected(out, originals.llm, plan, described, options.dtype, progress)


def describe(originals: PandaGPTOriginals, plan: ProjectedPlan, options: PandaGPTOptions) -> PandaGPTFolder:
    """config.json's content but for `files`, which are yet to be written."""
    kind = _kind(originals.imagebind)
    sizes = kind.sizes(originals.imagebind, options)
    return PandaGPTFolder(
        id=options.model_id,
        template=options.template or template_of(originals.llm),
        encoder=EncoderSpec(kind=kind.name, variant="pandagpt", sizes=sizes.to_config()),
        projection=plan.projection,
        lora=plan.lora,
        llm=LLMSpec(folder=FOLDER),
        bos=read_bos(originals.llm),
        recipes=sizes.recipes,
        files={},
        sampling_defaults=dict(DEMO_SAMPLING),
        max_model_len=options.max_model_len or plan.config.max_positions,
        created=int(time.time()),
        provenance={**_provenance(originals, plan), "licences": _licences(originals, options)},
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """An encoder that can be converted: its files' licence, its sizes, and the parts that it is made of."""

    name: Literal["imagebind", "languagebind", "embedding-gemma2"]
    licence: str
    sizes: Callable[[Any, PandaGPTOptions], EncoderSizes]
    plan: Callable[[Any, Any], list[Part]]


def _kind(encoder: EncoderFiles) -> _Kind:
    return _KINDS.get(type(encoder), _IMAGEBIND)


def sizes_of(imagebind: Path) -> ImageBindSizes:
    """The published sizes: of six towers, or of seven where the file has Point-Bind's keys. Reads the header only."""
    keys = plan_part("", imagebind, lambda key: key).keys
    return HUGE_3D if any(key.startswith(f"{POINT_PART}.") for key in keys) else HUGE


def plan_encoder(path: Path, sizes: ImageBindSizes) -> Part:
    """All towers under their own names, after a strict account."""
    part = plan_part(ENCODER, path, lambda key: key)
    _refuse_other_widths(path.name, part.shapes(), sizes)
    account(path.name, module_shapes(ImageBind(sizes, variant="pandagpt")), part.shapes())
    return part


def lora_spec(what: str, adapter: Mapping[str, Shape], options: PandaGPTOptions) -> LoraSpec:
    rank = lora_rank(what, adapter)
    alpha = float(rank) if options.lora_alpha is None else options.lora_alpha
    return LoraSpec(r=rank, alpha=alpha, targets=options.lora_targets)


def _new_name(key: str) -> str:
    return renamed([key], PANDAGPT_DELTA)[key]


def _refuse_other_widths(what: str, found: Mapping[str, Shape], sizes: ImageBindSizes) -> None:
    differing = []
    for tower in TOWERS:
        shape = found.get(f"modality_trunks.{tower}.blocks.0.norm_1.weight")
        if shape is not None and shape != (sizes.tower(tower).width,):
            differing.append(f"{tower} is {shape} wide, expected {sizes.tower(tower).width}")
    if len(differing) > 1:
        raise CheckpointError(f"{what} is an ImageBind of other sizes, which must be given: {'; '.join(differing)}")


def _licences(originals: PandaGPTOriginals, options: PandaGPTOptions) -> dict[str, str]:
    """Of each part by its publisher; an adapter that is trained from here on is its trainer's own."""
    adapter = {} if originals.delta is None else {"delta": PANDAGPT_LICENCE}
    llm = options.licence or licence_of(originals.llm)
    return {"encoder": _kind(originals.imagebind).licence, "llm": llm, **adapter}


def _source(part: Part) -> dict[str, str]:
    """A tower's file, named with its folder: LanguageBind's all have one name."""
    return {"file": f"{part.source.parent.name}/{part.source.name}", "sha256": file_digest(part.source)}


def _provenance(originals: PandaGPTOriginals, plan: ProjectedPlan) -> dict[str, Any]:
    delta = originals.delta
    return {
        "made_by": "pandagpt convert",
        _kind(originals.imagebind).name: {"file": plan.encoder.source.name, "sha256": file_digest(plan.encoder.source)},
        **({"towers": [_source(part) for part in plan.towers]} if plan.towers else {}),
        "delta": "none: untrained" if delta is None else {"file": delta.name, "sha256": file_digest(delta)},
        "llm": {"folder": originals.llm.name, "files": [part.source.name for part in plan.llm]},
    }


_IMAGEBIND = _Kind(
    "imagebind", IMAGEBIND_LICENCE, lambda _, options: options.sizes, lambda path, sizes: [plan_encoder(path, sizes)]
)
_KINDS: Mapping[type, _Kind] = {
    LanguageBindFolders: _Kind(
        "languagebind",
        languagebind.LICENCE,
        lambda folders, _: languagebind.read_sizes(folders),
        languagebind.plan_languagebind,
    ),
    EmbeddingGemma2Folder: _Kind(
        "embedding-gemma2",
        embedding_gemma2.LICENCE,
        lambda folder, _: embedding_gemma2.read_sizes(folder),
        embedding_gemma2.plan_embedding_gemma2,
    ),
}
