"""MiniGPT-v2's downloads."""

import argparse
from pathlib import Path

from service.commands.models.converters.common import Progress, read_sizes, required


def configure(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("minigpt-v2")
    own.add_argument("--eva", type=Path, help="eva_vit_g.pth; not needed where --checkpoint is a whole state dict")
    own.add_argument("--checkpoint", type=Path, help="MiniGPT-v2's checkpoint.pth; without it: a folder to train")
    own.add_argument("--ln-vision", type=Path, help="a file that holds ln_vision (1 and 0, as the original has it)")
    own.add_argument("--eva-sizes", type=Path, help="JSON of the encoder's sizes, for one that is not ViT-g at 448")


def convert(arguments: argparse.Namespace) -> str:
    """The lines to print."""
    required(arguments, "llm")
    import torch  # takes seconds to import

    from pandagpt_core.convert.minigpt_v2 import (  # takes seconds to import
        MiniGPTv2Options,
        MiniGPTv2Originals,
        convert_minigpt_v2,
    )
    from pandagpt_core.encoders.eva_vit import EvaSizes  # takes seconds to import

    sizes = EvaSizes.from_config(read_sizes("--eva-sizes", arguments.eva_sizes)) if arguments.eva_sizes else EvaSizes()
    options = MiniGPTv2Options(
        model_id=arguments.id or arguments.out.name,
        sizes=sizes,
        lora_alpha=16.0 if arguments.lora_alpha is None else arguments.lora_alpha,
        dtype=getattr(torch, arguments.dtype) if arguments.dtype else None,
        max_model_len=arguments.max_model_len,
    )
    originals = MiniGPTv2Originals(arguments.llm, arguments.eva, arguments.checkpoint, arguments.ln_vision)
    made = convert_minigpt_v2(originals, arguments.out, options, Progress())
    head = f"{arguments.out}: {made.id}, context {made.max_model_len}, {sizes.rows} tokens a picture"
    if arguments.checkpoint is None:
        return f"{head}\nits projection is untrained: pandagpt train --config FILE"
    return f"{head}\nserve it: pandagpt serve --model {arguments.out}"
