"""`pandagpt convert`: the original PandaGPT's downloads into one model folder."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandagpt_core.convert import Options
    from pandagpt_core.encoders.sizes import ImageBindSizes

_DTYPES = ("keep", "float16", "bfloat16", "float32")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--imagebind", type=Path, required=True, metavar="FILE", help="imagebind_huge.pth")
    parser.add_argument(
        "--llm", type=Path, required=True, metavar="FOLDER", help="Vicuna, as a Hugging Face folder with its tokenizer"
    )
    parser.add_argument(
        "--delta", type=Path, required=True, metavar="FILE", help="PandaGPT's pytorch_model.pt: projection and LoRA"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="model folder to make; must not exist"
    )
    parser.add_argument("--id", help="the model's name in the API; the folder's name unless given")
    parser.add_argument("--dtype", choices=_DTYPES, default="keep", help="type of the written weights")
    parser.add_argument(
        "--lora-alpha", type=float, help="LoRA's alpha in training; r unless given, as PandaGPT trained"
    )
    parser.add_argument("--max-model-len", type=int, help="longest context; the language model's own unless given")
    parser.add_argument(
        "--imagebind-sizes",
        type=Path,
        metavar="FILE",
        help="JSON of an ImageBind that is not huge: width, blocks and heads of each tower, out, vocab",
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert, with a bar of the bytes written."""
    # torch comes with it: not before the arguments are known to be right.
    from tqdm import tqdm

    from pandagpt_core.convert import Originals, convert_pandagpt

    originals = Originals(arguments.imagebind, arguments.llm, arguments.delta)
    with tqdm(unit="B", unit_scale=True, desc=arguments.out.name, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        said = convert_pandagpt(originals, arguments.out, _options(arguments), progress)
    bos = f"{said.bos.piece or 'a token'} (id {said.bos.id}, by {said.bos.source})" if said.bos else "none"
    print(f"{arguments.out}: model {said.id}, context {said.max_model_len}, begins with {bos}")
    return 0


def _options(arguments: argparse.Namespace) -> "Options":
    import torch

    from pandagpt_core.convert import Options

    given: dict[str, Any] = {}
    if arguments.imagebind_sizes is not None:
        given["sizes"] = _sizes(arguments.imagebind_sizes)
    if arguments.dtype != "keep":
        given["dtype"] = getattr(torch, arguments.dtype)
    return Options(
        model_id=arguments.id or arguments.out.name,
        lora_alpha=arguments.lora_alpha,
        max_model_len=arguments.max_model_len,
        **given,
    )


def _sizes(path: Path) -> "ImageBindSizes":
    from pandagpt_core.encoders.sizes import ImageBindSizes
    from pandagpt_core.errors import CheckpointError

    try:
        return ImageBindSizes.from_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} is no file of ImageBind sizes: {error}") from error
