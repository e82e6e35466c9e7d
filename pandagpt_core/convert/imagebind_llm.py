"""ImageBind-LLM's four downloads turned into one model folder, strictly and in a stream."""

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.checkpoints import (
    ADAPTER,
    BosSpec,
    EncoderSpec,
    KeyMap,
    LLMSpec,
    LoraSpec,
    Shape,
    account,
    file_digest,
    lora_shapes,
    renamed,
    write_safetensors,
)
from pandagpt_core.checkpoints.imagebind_llm import (
    ADAPTED,
    GATE,
    BindSpec,
    ImageBindLLMFolder,
    bind_shapes,
    gate_name,
    tuned_shapes,
)
from pandagpt_core.convert.atomic_folder import ProgressOf, check_max_model_len, refuse_existing, silent, write_folder
from pandagpt_core.convert.cache.faiss_index import CacheSource, open_cache, write_cache
from pandagpt_core.convert.fresh_bind import RANK, fresh_fetch, fresh_shapes, fresh_specs
from pandagpt_core.convert.llm import FOLDER, expected_shapes
from pandagpt_core.convert.meta_llama import MetaLlama, find_llama, layer_name, plan_llama, turned, write_texts
from pandagpt_core.convert.pandagpt import plan_encoder, sizes_of
from pandagpt_core.convert.parts import ByteProgress, Part, opened, plan_part, write_part
from pandagpt_core.encoders.sizes import ImageBindSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.tokenizers.base import load_tokenizer

DEMO_SAMPLING: Mapping[str, float] = {"temperature": 0.1, "top_p": 0.75}  # the original demo's

_PREFIX = re.compile(r"^llma\.")  # of the first files; the published ones have the second
_BIND: KeyMap = (
    (r"^image_bind_proj\.", "bind.proj."),
    (r"^image_bind_norm_(\d)\.", r"bind.blocks.\1.norm."),
    (r"^image_bind_f1_(\d)\.", r"bind.blocks.\1.gate_proj."),
    (r"^image_bind_f2_(\d)\.", r"bind.blocks.\1.down_proj."),
    (r"^image_bind_f3_(\d)\.", r"bind.blocks.\1.up_proj."),
)
_LORA = re.compile(r"(.*\.)lora_(w[qkvo123])_l([12])\.weight")
_OF_BASE = re.compile(
    r"(layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])|tok_embeddings|output)\.weight|rope\.freqs"
)
_BLOCK = re.compile(r"^(bind\.blocks\.)(\d)")


@dataclass(frozen=True, slots=True)
class ImageBindLLMOriginals:
    """imagebind_huge.pth or imagebind_w3D.pth; a LLaMA in Meta's layout; 7B.pth; knn.index, for a cache of images.

    Without an adapter the folder is one to train: its gates are zero, so its media change nothing yet.
    """

    imagebind: Path
    llama: Path
    adapter: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class ImageBindLLMOptions:
    """Options of a conversion. `dtype` None keeps each file's own type.

    Attention heads do not show in a checkpoint's shapes, so `sizes` must be given for an encoder other than huge; with
    None they are huge's, with Point-Bind's tower where the file has it.
    """

    model_id: str
    sizes: ImageBindSizes | None = None
    dtype: torch.dtype | None = None
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class ImageBindLLMPlan:
    """Plan of the conversion before a byte is written; every account of keys has been passed."""

    llama: MetaLlama
    sizes: ImageBindSizes
    encoder: Part
    adapter: Part | None
    llm: Part
    bind: BindSpec
    lora: LoraSpec
    cache: CacheSource | None

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.encoder, *(() if self.adapter is None else (self.adapter,)), self.llm

    def size(self, dtype: torch.dtype | None) -> int:
        """Bytes of weights to be written."""
        return sum(part.size(dtype) for part in self.parts) + (0 if self.cache is None else self.cache.size)


def plan_imagebind_llm(originals: ImageBindLLMOriginals, options: ImageBindLLMOptions) -> ImageBindLLMPlan:
    """Read headers only. Raises KeyMismatch, which lists every key that is missing, left over or misshapen."""
    llama = find_llama(originals.llama)
    sizes = options.sizes or sizes_of(originals.imagebind)
    check_max_model_len(options.max_model_len, llama.config)
    adapter, (bind, lora) = None, fresh_specs(llama.config, sizes.out)
    if originals.adapter is not None:
        adapter, bind, lora = plan_adapter(originals.adapter, llama.config)
    if bind.features != sizes.out:
        raise CheckpointError(f"the bind network reads {bind.features} features, the encoder gives {sizes.out}")
    cache = None if originals.cache is None else open_cache(originals.cache, sizes.out)
    return ImageBindLLMPlan(
        llama, sizes, plan_encoder(originals.imagebind, sizes), adapter, plan_llama(llama), bind, lora, cache
    )


def plan_adapter(path: Path, config: LlamaConfig) -> tuple[Part, BindSpec, LoraSpec]:
    """The trained weights and their specs, after a strict account.

    A trainer's own file holds the whole model: ImageBind and the base's weights, which training left as they were, are
    passed over there. A file of the first phase has neither biases nor LoRA: they begin as nothing, for the second.
    """
    part = plan_part(ADAPTER, path, adapter_name)
    bind, untuned = _bind_spec(path.name, part.shapes()), _is_untuned(part.shapes())
    rank = RANK if untuned else _rank(path.name, part.shapes())
    unread = [gate_name(layer) for layer in range(config.layers - bind.layers)]  # gates of layers without an adapter
    part = plan_part(ADAPTER, path, lambda key: _but(adapter_name(key), unread))
    lora = LoraSpec(r=rank, alpha=float(rank), targets=ADAPTED)
    gates = {name: (1, *shape, 1, 1) for name, shape in bind_shapes(bind, config).items() if name.endswith(GATE)}
    expected = bind_shapes(bind, config) | tuned_shapes(config) | lora_shapes(lora, expected_shapes(config))
    extra = _fresh_tuning(expected) if untuned else {}
    account(path.name, {**{key: expected[key] for key in expected if key not in extra}, **gates}, part.shapes())
    part = dataclasses.replace(part, changes=dict.fromkeys(gates, Tensor.flatten), extra=extra)
    return turned(part, config), bind, lora


def convert_imagebind_llm(
    originals: ImageBindLLMOriginals, out: Path, options: ImageBindLLMOptions, progress: ProgressOf = silent
) -> ImageBindLLMFolder:
    """Write the model folder `out`, which must not exist; it appears whole or not at all.

    Raises CheckpointError, and KeyMismatch before anything is written.
    """
    refuse_existing(out)
    plan = plan_imagebind_llm(originals, options)

    def fill(folder: Path, advance: ByteProgress) -> ImageBindLLMFolder:
        files = write_files(folder, plan, options, advance)
        return describe(originals, plan, options, read_bos(folder), files)

    return write_folder(out, plan.size(options.dtype), fill, progress)


def write_files(
    folder: Path, plan: ImageBindLLMPlan, options: ImageBindLLMOptions, progress: ByteProgress
) -> dict[str, str]:
    """Write all files but config.json; returns the SHA-256 of each by its name."""
    (folder / FOLDER).mkdir()
    files = {part.target: write_part(folder, part, options.dtype, progress) for part in plan.parts}
    if plan.adapter is None:
        files[ADAPTER] = write_fresh(folder, plan)
    if plan.cache is not None:
        files |= write_cache(folder, plan.cache, progress)
    stored = options.dtype or next(iter(plan.llm.layout.values())).dtype
    names = write_texts(plan.llama, folder, str(stored).removeprefix("torch."))
    return {**files, **{name: file_digest(folder / name) for name in names}}


def write_fresh(folder: Path, plan: ImageBindLLMPlan) -> str:
    """An untrained adapter; its file's SHA-256."""
    shapes = fresh_shapes(plan.llama.config, plan.bind, plan.lora)
    layout = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    with opened(plan.llm.source) as (_, fetch):
        base = fresh_fetch(shapes, lambda key: plan.llm.tensor(key, fetch))
        return write_safetensors(folder / ADAPTER, layout, base)


def describe(
    originals: ImageBindLLMOriginals,
    plan: ImageBindLLMPlan,
    options: ImageBindLLMOptions,
    bos: BosSpec | None,
    files: Mapping[str, str],
) -> ImageBindLLMFolder:
    """config.json's content.

    The encoder's variant is PandaGPT's, as a medium's scale is divided out before it is mixed: so that a folder of
    either system that was made from the same file shares its embeddings with the other.
    """
    return ImageBindLLMFolder(
        id=options.model_id,
        template="alpaca",
        encoder=EncoderSpec(kind="imagebind", variant="pandagpt", sizes=plan.sizes.to_config()),
        bind=plan.bind,
        lora=plan.lora,
        llm=LLMSpec(folder=FOLDER),
        bos=bos,
        recipes=plan.sizes.recipes,
        files=dict(files),
        cache=None if plan.cache is None else plan.cache.spec,
        sampling_defaults=dict(DEMO_SAMPLING),
        max_model_len=options.max_model_len or plan.llama.config.max_positions,
        created=int(time.time()),
        provenance=_provenance(originals),
    )


def read_bos(folder: Path) -> BosSpec | None:
    """Meta's folder names none: it is sentencepiece's own."""
    tokenizer = load_tokenizer(folder / FOLDER)
    return None if tokenizer.bos_id is None else BosSpec(id=tokenizer.bos_id, piece="<s>", source="tokenizer.model")


def adapter_name(key: str) -> str | None:
    key = _PREFIX.sub("llama.", key)
    if key.startswith("image_bind."):
        return None
    if key.startswith("llama."):
        return _llama_name(key.removeprefix("llama."))
    named = renamed([key], _BIND)[key]
    return _BLOCK.sub(lambda found: f"{found[1]}{int(found[2]) - 1}", named)  # the original counts from 1


def _llama_name(key: str) -> str | None:
    if _OF_BASE.fullmatch(key):
        return None
    lora = _LORA.fullmatch(key)
    if lora is None:
        return layer_name(key) or f"model.{key}"
    linear, which = layer_name(f"{lora[1]}{lora[2]}"), {"1": "A", "2": "B"}[lora[3]]
    return f"{linear}.lora_{which}.weight"


def _but(name: str | None, unread: list[str]) -> str | None:
    return None if name in unread else name


def _bind_spec(what: str, shapes: Mapping[str, Shape]) -> BindSpec:
    try:
        return BindSpec(
            features=shapes["bind.proj.weight"][1],
            hidden=shapes["bind.blocks.0.gate_proj.weight"][0],
            layers=shapes["prefix_query.weight"][0],
        )
    except (KeyError, IndexError):
        raise CheckpointError(f"{what} holds no bind network by ImageBind-LLM's names") from None


def _is_untuned(shapes: Mapping[str, Shape]) -> bool:
    return not any(map(_is_of_second_phase, shapes))


def _is_of_second_phase(key: str) -> bool:
    """Of the language model, and not its norms, which a file of the first phase has too, as the base's."""
    return key.startswith("model.") and (key.endswith(".bias") or ".lora_" in key)


def _fresh_tuning(expected: Mapping[str, Shape]) -> dict[str, Tensor]:
    """Biases and LoRA that change nothing."""
    shapes = {key: shape for key, shape in expected.items() if _is_of_second_phase(key)}
    fetch = fresh_fetch(shapes, lambda key: torch.ones(shapes[key]))  # no norm is among them
    return {key: fetch(key) for key in shapes}


def _rank(what: str, shapes: Mapping[str, Shape]) -> int:
    ranks = {shape[0] for key, shape in shapes.items() if key.endswith(".lora_A.weight") and shape}
    if not ranks:
        raise CheckpointError(f"{what} holds no LoRA matrices by ImageBind-LLM's names")
    return min(ranks)


def _provenance(originals: ImageBindLLMOriginals) -> dict[str, Any]:
    adapter, cache = originals.adapter, originals.cache
    return {
        "made_by": "pandagpt convert",
        "imagebind": {"file": originals.imagebind.name, "sha256": file_digest(originals.imagebind)},
        "adapter": "none: untrained" if adapter is None else {"file": adapter.name, "sha256": file_digest(adapter)},
        "llm": {"folder": originals.llama.name},
        "cache": "none" if cache is None else {"file": cache.name, "sha256": file_digest(cache)},
    }
