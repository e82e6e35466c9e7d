"""`pandagpt convert`: the original PandaGPT's downloads into a model folder, with a strict account of every key."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from service.settings import SettingsError

if TYPE_CHECKING:
    from pandagpt_core.encoders.sizes import ImageBindSizes

DTYPES = ("float32", "bfloat16", "float16")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--imagebind", type=Path, required=True, help="imagebind_huge.pth")
    parser.add_argument("--llm", type=Path, required=True, help="Vicuna folder in Hugging Face's layout")
    parser.add_argument("--delta", type=Path, help="PandaGPT's pytorch_model.pt; without it: a folder to train")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make; must not exist")
    parser.add_argument("--id", help="the model's name in the API (the folder's name)")
    parser.add_argument("--template", choices=("vicuna-v0", "chatml"), default="vicuna-v0", help="prompt template")
    parser.add_argument("--dtype", choices=DTYPES, help="type of all weights (each file's own)")
    parser.add_argument("--max-model-len", type=int, help="context length (the language model's)")
    parser.add_argument("--lora-alpha", type=float, help="LoRA alpha (r, as PandaGPT was trained)")
    parser.add_argument(
        "--imagebind-sizes", type=Path, help="JSON of the towers' sizes, for an encoder that is not huge"
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert, or list what does not fit."""
    import torch

    from pandagpt_core.convert import Options, Originals, convert_pandagpt
    from pandagpt_core.encoders.sizes import HUGE

    options = Options(
        model_id=arguments.id or arguments.out.name,
        template=arguments.template,
        sizes=_sizes(arguments.imagebind_sizes) if arguments.imagebind_sizes else HUGE,
        lora_alpha=arguments.lora_alpha,
        dtype=getattr(torch, arguments.dtype) if arguments.dtype else None,
        max_model_len=arguments.max_model_len,
    )
    originals = Originals(arguments.imagebind, arguments.llm, arguments.delta)
    made = convert_pandagpt(originals, arguments.out, options, _Progress())
    bos = made.bos
    begins = f"begins with {bos.piece} (id {bos.id}, by {bos.source})" if bos else "begins with no token of its own"
    print(f"\n{arguments.out}: {made.id}, context {made.max_model_len}, {begins}")
    if arguments.delta is None:
        print("its projection is untrained; docs/guides/training.md says how to train it: pandagpt train --config FILE")
    else:
        print(f"serve it: pandagpt serve --model {arguments.out}")
    return 0


def _sizes(path: Path) -> "ImageBindSizes":
    from pandagpt_core.encoders.sizes import ImageBindSizes

    try:
        return ImageBindSizes.from_config(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"--imagebind-sizes: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"--imagebind-sizes: {path}: {error}") from None


class _Progress:
    """Bytes written, on one line of the terminal; silent where standard error is none."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty() and (time.monotonic() >= self._next or done == total):
            self._next = time.monotonic() + 0.2
            print(f"\r{done / 1e9:.2f} of {total / 1e9:.2f} GB", end="", file=sys.stderr, flush=True)
