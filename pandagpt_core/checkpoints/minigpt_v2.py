"""MiniGPT-v2's own fields of config.json.

encoder.safetensors holds EVA ViT by its own names, without the blocks that are not read, and `ln_vision`; its positions
are those of `encoder.sizes.image`. Or it holds the encoder of another kind that gives rows, a grid's.
adapter.safetensors is laid out as PandaGPT's (`checkpoints.pandagpt`).
"""

from typing import Literal

from pandagpt_core.checkpoints.folder import ModelFolder
from pandagpt_core.checkpoints.pandagpt import LoraSpec, PandaGPTFolder, ProjectionSpec


class MiniGPTv2Folder(ModelFolder, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="minigpt-v2"):
    """typed_tasks: a caller may write a task's identifier, as "[vqa]", in the text; else only the field `task` counts.

    No BOS is named: with the original's template the prompt's first two ids are both its `<s>`. `template`: see
    `prompts`.
    """

    template: Literal["minigpt-v2", "chatml-rows"] = "minigpt-v2"
    projection: ProjectionSpec
    lora: LoraSpec | None = None
    typed_tasks: bool = True


ProjectedFolder = PandaGPTFolder | MiniGPTv2Folder  # folders whose adapter is a projection with LoRA pairs
