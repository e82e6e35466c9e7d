"""Write what was trained as a model folder of the system imagebind-llm: its own weights and the visual cache alone.

Towers and language model are not copied: config.json names panda-mini's folder beside it, and the package.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from pandagpt_core.checkpoints import (
    ADAPTER,
    CACHE,
    ENCODER,
    TOWERS,
    BindSpec,
    CacheSpec,
    ImageBindLLMFolder,
    LoraSpec,
    PandaGPTFolder,
    read_folder_of,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.checkpoints.imagebind_llm import ADAPTED, bind_shapes
from pandagpt_core.encoders.mini.points import PointTower
from pandagpt_core.systems.imagebind_llm.bind_network import BindBlock
from pandagpt_core.training.lora import LoraLinear
from pandagpt_core.training.tune.bind_model import TrainableBind, adapter_state
from pandagpt_core.types import Modality
from recipes.panda_mini_bind.points.train import PointSizes

State = dict[str, Tensor]


def export(
    folder: Path,
    default: Path,
    model: TrainableBind,
    cache: Tensor,
    points: PointTower,
    how: CacheSpec,
    provenance: dict[str, Any],
    created: int,
) -> ImageBindLLMFolder:
    """Replace `folder`'s weights and config; its other files stay. cache: [N, E] features of pictures.

    how: a request's default use of the cache.
    """
    base = read_folder_of(default, PandaGPTFolder)
    folder.mkdir(parents=True, exist_ok=True)
    block, features = model.network.blocks[0], model.network.proj.in_features
    assert isinstance(block, BindBlock)
    bind = BindSpec(features=features, hidden=block.gate_proj.out_features, layers=model.prefix.layers)
    sizes = {**base.encoder.sizes, "towers": {**base.encoder.sizes["towers"], "points": asdict(PointSizes())}}
    tower = {f"towers.points.{name}": tensor for name, tensor in points.state_dict().items()}
    config = ImageBindLLMFolder(
        id="panda-mini-bind",
        template="chatml",
        encoder=msgspec.structs.replace(base.encoder, sizes=sizes, weights_of=default.name),
        bind=bind,
        biases=model.phase == "finetune",
        lora=lora_of(model),
        llm=base.llm,
        recipes={**base.recipes, Modality.POINTS: "points-8192-v1"},
        files={
            ENCODER: base.files[ENCODER],
            ADAPTER: _write(folder / ADAPTER, adapter_of(model, bind)),
            TOWERS: _write(folder / TOWERS, tower),
            CACHE: _write(folder / CACHE, {"vectors": cache}),
        },
        cache=how,
        sampling_defaults={"temperature": 0.0},
        max_model_len=base.max_model_len,
        tools="forced",  # a model of this size does not choose a function
        created=created,
        provenance=provenance,
    )
    write_model_folder(folder, config)
    return config


def adapter_of(model: TrainableBind, bind: BindSpec) -> State:
    """Tensors of the adapter's file: after the first phase none of the language model, which stays the base's."""
    state = adapter_state(model, {})
    if model.phase == "finetune":
        return state
    wanted = bind_shapes(bind, model.llm.config)
    return {name: tensor for name, tensor in state.items() if name in wanted}


def lora_of(model: TrainableBind) -> LoraSpec | None:
    """LoRA's spec after the second phase; None after the first."""
    ranks = {len(module.a) for module in model.llm.modules() if isinstance(module, LoraLinear)}
    return LoraSpec(r=(rank := ranks.pop()), alpha=float(rank), targets=ADAPTED) if ranks else None


def _half(tensor: Tensor) -> Tensor:
    """Counters stay whole numbers."""
    return tensor.half() if tensor.is_floating_point() else tensor


def _write(path: Path, state: State) -> str:
    path.unlink(missing_ok=True)
    halves = {name: _half(tensor.detach()).contiguous() for name, tensor in state.items()}
    return write_safetensors(path, halves, halves.__getitem__)
