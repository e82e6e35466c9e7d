"""ImageBind-LLM's downloads."""

import argparse
from pathlib import Path

from service.commands.models.converters.common import Progress, imagebind_sizes, required


def configure(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("imagebind-llm")
    own.add_argument(
        "--llama", type=Path, help="LLaMA folder as Meta gives it: tokenizer.model, 7B/consolidated.00.pth"
    )
    own.add_argument("--adapter", type=Path, help="7B.pth, published or a trainer's; without it: a folder to train")
    own.add_argument("--cache", type=Path, help="knn.index: a cache of image features; needs pandagpt[convert]")


def convert(arguments: argparse.Namespace) -> str:
    """The lines to print."""
    required(arguments, "imagebind", "llama")
    import torch  # takes seconds to import

    from pandagpt_core.convert.imagebind_llm import (  # takes seconds to import
        ImageBindLLMOptions,
        ImageBindLLMOriginals,
        convert_imagebind_llm,
    )

    options = ImageBindLLMOptions(
        model_id=arguments.id or arguments.out.name,
        sizes=imagebind_sizes(arguments),
        dtype=getattr(torch, arguments.dtype) if arguments.dtype else None,
        max_model_len=arguments.max_model_len,
    )
    originals = ImageBindLLMOriginals(arguments.imagebind, arguments.llama, arguments.adapter, arguments.cache)
    made = convert_imagebind_llm(originals, arguments.out, options, Progress())
    cache = "no cache" if made.cache is None else f"a cache of {made.cache.rows:,} image features"
    head = f"{arguments.out}: {made.id}, context {made.max_model_len}, {', '.join(made.recipes)}, {cache}"
    if arguments.adapter is None:
        return f"{head}\nits gates are zero: docs/guides/imagebind-llm.md says how to train it"
    return f"{head}\nserve it: pandagpt serve --model {arguments.out}"
