"""`pandagpt convert`: a published system's downloads into a model folder, with a strict account of every key."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from service.commands.models.converters import imagebind_llm, minigpt_v2, pandagpt

DTYPES = ("float32", "bfloat16", "float16")


class Converter(Protocol):
    """A module of `converters`: its own arguments, and the conversion, which returns the lines to print."""

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def convert(self, arguments: argparse.Namespace) -> str: ...


CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        "pandagpt": pandagpt,
        "imagebind-llm": imagebind_llm,
        "minigpt-v2": minigpt_v2,
    }
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of all systems."""
    parser.add_argument("--system", choices=tuple(CONVERTERS), default="pandagpt", help="which model (pandagpt)")
    parser.add_argument("--llm", type=Path, help="Vicuna or LLaMA-2-chat folder, Hugging Face's layout")
    parser.add_argument("--out", type=Path, required=True, help="model folder to make; must not exist")
    parser.add_argument("--id", help="the model's name in the API (the folder's name)")
    parser.add_argument("--dtype", choices=DTYPES, help="type of all weights (each file's own)")
    parser.add_argument("--max-model-len", type=int, help="context length (the language model's)")
    parser.add_argument("--lora-alpha", type=float, help="LoRA alpha (as published: r of PandaGPT, 16 of MiniGPT-v2)")
    for converter in CONVERTERS.values():
        converter.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert, or list what does not fit."""
    print(f"\n{CONVERTERS[arguments.system].convert(arguments)}")
    return 0
