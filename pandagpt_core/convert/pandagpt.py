"""The original PandaGPT's three downloads turned into one model folder, strictly and in a stream."""

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    PANDAGPT_DELTA,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    PandaGPTFolder,
    ProjectionSpec,
    Shape,
    account,
    adapter_shapes,
    check_model_folder,
    file_digest,
    module_shapes,
    renamed,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.convert.llm import FOLDER, copy_texts, expected_shapes, plan_llm, read_bos, write_index
from pandagpt_core.convert.parts import Part, Progress, plan_part, write_part
from pandagpt_core.encoders.imagebind import POINT_PART, ImageBind
from pandagpt_core.encoders.sizes import HUGE, HUGE_3D, TOWERS, ImageBindSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.weights import read_config

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")  # what PandaGPT trained (its paper, section 3)
DEMO_SAMPLING: Mapping[str, float] = {"temperature": 1.0, "top_p": 0.01}  # the original demo's; greedy in effect


@dataclass(frozen=True, slots=True)
class Originals:
    """imagebind_huge.pth; a Vicuna folder in Hugging Face's layout; PandaGPT's pytorch_model.pt.

    Without the last the folder is one to train: its projection is drawn at random, and it has no LoRA.
    """

    imagebind: Path
    llm: Path
    delta: Path | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert. `dtype` None keeps each file's own type; `lora_alpha` None means r, as PandaGPT trained.

    Attention heads do not show in a checkpoint's shapes, so `sizes` must be given for an encoder other than huge.
    """

    model_id: str
    template: Literal["vicuna-v0", "chatml"] = "vicuna-v0"
    sizes: ImageBindSizes = HUGE
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] = PROJECTIONS
    dtype: torch.dtype | None = None
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known before a byte is written: every account of keys has been passed."""

    encoder: Part
    adapter: Part | None
    llm: list[Part]
    projection: ProjectionSpec
    lora: LoraSpec | None
    config: LlamaConfig

    @property
    def parts(self) -> list[Part]:
        return [self.encoder, *([self.adapter] if self.adapter is not None else []), *self.llm]

    def size(self, dtype: torch.dtype | None) -> int:
        """Bytes of weights to be written."""
        return sum(part.size(dtype) for part in self.parts)


def plan_pandagpt(originals: Originals, options: Options) -> Plan:
    """Read headers only. Raises KeyMismatch, which lists every key that is missing, left over or misshapen."""
    config = read_config(originals.llm)
    encoder = plan_encoder(originals.imagebind, options.sizes)
    projection = ProjectionSpec(in_dim=options.sizes.out, out_dim=config.width)
    if (options.max_model_len or 1) > config.max_positions:
        raise CheckpointError(
            f"max_model_len is {options.max_model_len}, the model has {config.max_positions} positions"
        )
    adapter, lora = None, None
    if originals.delta is not None:
        adapter = plan_part(ADAPTER, originals.delta, _new_name)
        lora = lora_spec(originals.delta.name, adapter.shapes(), options)
        account(originals.delta.name, adapter_shapes(projection, lora, expected_shapes(config)), adapter.shapes())
    return Plan(encoder, adapter, plan_llm(originals.llm, config), projection, lora, config)


def convert_pandagpt(
    originals: Originals, out: Path, options: Options, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> PandaGPTFolder:
    """Write the model folder `out`, which must not exist; it appears whole or not at all.

    progress is called with the bytes of weights written so far and in all. Raises CheckpointError, and KeyMismatch
    before anything is written.
    """
    if out.exists():
        raise CheckpointError(f"{out.name} exists; a model folder is never overwritten")
    plan = plan_pandagpt(originals, options)
    total = plan.size(options.dtype)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    said = describe(originals, plan, options)
    check_model_folder(said)
    with appearing(out, total) as folder:
        said = msgspec.structs.replace(said, files=write_files(folder, originals, plan, options, advance))
        write_model_folder(folder, said)
    return said


def write_files(folder: Path, originals: Originals, plan: Plan, options: Options, progress: Progress) -> dict[str, str]:
    """Everything but config.json; the SHA-256 of each file by its name."""
    (folder / FOLDER).mkdir()
    files = {part.target: write_part(folder, part, options.dtype, progress) for part in plan.parts}
    if plan.adapter is None:
        fresh = untrained(plan.projection)
        files[ADAPTER] = write_safetensors(folder / ADAPTER, fresh, fresh.__getitem__)
    size = sum(part.size(options.dtype) for part in plan.llm)
    texts = [*write_index(folder, plan.llm, size), *copy_texts(originals.llm, folder)]
    return {**files, **{name: file_digest(folder / name) for name in texts}}


def untrained(projection: ProjectionSpec) -> dict[str, torch.Tensor]:
    """The adapter of a folder to train: the linear layer's usual first weights (He et al. 2015), always the same."""
    bound = projection.in_dim**-0.5
    random = torch.Generator().manual_seed(0)
    shapes = {"projection.weight": (projection.out_dim, projection.in_dim), "projection.bias": (projection.out_dim,)}
    return {name: torch.empty(shape).uniform_(-bound, bound, generator=random) for name, shape in shapes.items()}


def describe(originals: Originals, plan: Plan, options: Options) -> PandaGPTFolder:
    """config.json's content but for `files`, which are yet to be written."""
    return PandaGPTFolder(
        id=options.model_id,
        template=options.template,
        encoder=EncoderSpec(kind="imagebind", variant="pandagpt", sizes=options.sizes.to_config()),
        projection=plan.projection,
        lora=plan.lora,
        llm=LLMSpec(folder=FOLDER),
        bos=read_bos(originals.llm),
        recipes=options.sizes.recipes,
        files={},
        sampling_defaults=dict(DEMO_SAMPLING),
        max_model_len=options.max_model_len or plan.config.max_positions,
        created=int(time.time()),
        provenance=_provenance(originals, plan),
    )


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


def lora_rank(what: str, adapter: Mapping[str, Shape]) -> int:
    """The rank that most of the A matrices have; the account then names those of another."""
    ranks = Counter(shape[0] for key, shape in adapter.items() if key.endswith(".lora_A.weight") and shape)
    if not ranks:
        raise CheckpointError(f"{what} holds no LoRA matrices by the names that the original saves")
    return ranks.most_common(1)[0][0]


def lora_spec(what: str, adapter: Mapping[str, Shape], options: Options) -> LoraSpec:
    rank = lora_rank(what, adapter)
    alpha = float(rank) if options.lora_alpha is None else options.lora_alpha
    return LoraSpec(r=rank, alpha=alpha, targets=options.lora_targets)


@contextmanager
def appearing(out: Path, size: int) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < size:
        raise CheckpointError(f"the model folder needs {size:,} bytes, the disk has {free:,} free")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def _provenance(originals: Originals, plan: Plan) -> dict[str, Any]:
    delta = originals.delta
    return {
        "made_by": "pandagpt convert",
        "imagebind": {"file": originals.imagebind.name, "sha256": file_digest(originals.imagebind)},
        "delta": "none: untrained" if delta is None else {"file": delta.name, "sha256": file_digest(delta)},
        "llm": {"folder": originals.llm.name, "files": [part.source.name for part in plan.llm]},
    }
