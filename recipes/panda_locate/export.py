"""Write what was trained as a model folder of the system minigpt-v2: float16 weights, config.json with digests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    MiniGPTv2Folder,
    ProjectionSpec,
    file_digest,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.encoders.eva_vit import RECIPE
from pandagpt_core.encoders.grid.encoder import GridHead, GridTrunk
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.training.lora import LoraConfig
from pandagpt_core.types import Modality
from recipes.panda_locate.sequences import TEMPLATE
from recipes.panda_mini.export import LLM_FILE, LLM_PACKAGE, llm_file

_CONTEXT = 2048


def export(
    folder: Path,
    trunk: GridTrunk,
    head: GridHead,
    sizes: GridSizes,
    adapter: Mapping[str, Tensor],
    lora: LoraConfig,
    provenance: dict[str, Any],
    created: int,
) -> MiniGPTv2Folder:
    """Replace `folder`'s weights and config; its other files stay."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"trunk": trunk, "head": head}
    encoder = {f"{at}.{name}": tensor for at, part in parts.items() for name, tensor in part.state_dict().items()}
    state = {**adapter, "projection.bias": torch.zeros(len(adapter["projection.weight"]))}
    out_dim, in_dim = state["projection.weight"].shape
    config = MiniGPTv2Folder(
        id="panda-locate",
        template=TEMPLATE,
        encoder=EncoderSpec(kind="grid", sizes=sizes.to_config()),
        projection=ProjectionSpec(in_dim=in_dim, out_dim=out_dim),
        lora=LoraSpec(r=lora.r, alpha=lora.alpha, targets=lora.targets),
        llm=LLMSpec(package=LLM_PACKAGE, file=LLM_FILE, sha256=file_digest(llm_file())),
        recipes={Modality.IMAGE: RECIPE},
        files={name: _write(folder / name, part) for name, part in ((ENCODER, encoder), (ADAPTER, state))},
        sampling_defaults={"temperature": 0.0},
        max_model_len=_CONTEXT,
        created=created,
        provenance=provenance,
    )
    write_model_folder(folder, config)
    return config


def _write(path: Path, state: Mapping[str, Tensor]) -> str:
    path.unlink(missing_ok=True)
    halves = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    return write_safetensors(path, halves, halves.__getitem__)
