"""The original PandaGPT's downloads."""

import argparse
from pathlib import Path

from pandagpt_core.encoders.sizes import HUGE
from service.commands.models.converters.common import Progress, imagebind_sizes, required

FURTHER = {
    "video": "LanguageBind_Video_FT, a folder, for films too",
    "audio": "LanguageBind_Audio_FT, a folder, for sounds too",
    "depth": "LanguageBind_Depth, a folder, for depth maps too",
    "thermal": "LanguageBind_Thermal, a folder, for thermal pictures too",
}
TEMPLATES = ("vicuna-v0", "chatml", "qwen2.5", "qwen3", "llama3")


def configure(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("pandagpt (and --imagebind of imagebind-llm)")
    encoder = own.add_mutually_exclusive_group()
    encoder.add_argument(
        "--imagebind", type=Path, help="imagebind_huge.pth, or imagebind_w3D.pth, which has point clouds"
    )
    encoder.add_argument("--languagebind", type=Path, help="LanguageBind_Image, a folder, in place of --imagebind")
    for name, about in FURTHER.items():
        own.add_argument(f"--languagebind-{name}", type=Path, help=about)
    encoder.add_argument("--embedding-gemma2", type=Path, help="embeddinggemma-2, a folder, in place of --imagebind")
    own.add_argument("--delta", type=Path, help="PandaGPT's pytorch_model.pt; without it: a folder to train")
    own.add_argument("--template", choices=TEMPLATES, help="prompt template (the one of the folder's chat template)")
    own.add_argument("--llm-licence", help="the language model's licence (what its README.md states)")
    own.add_argument("--imagebind-sizes", type=Path, help="JSON of the towers' sizes, for an encoder that is not huge")


def convert(arguments: argparse.Namespace) -> str:
    """The lines to print."""
    further = {name: getattr(arguments, f"languagebind_{name}") for name in FURTHER}
    encoder = "languagebind" if arguments.languagebind or any(further.values()) else "imagebind"
    other = arguments.languagebind or arguments.embedding_gemma2
    required(arguments, "llm", *(() if arguments.embedding_gemma2 else (encoder,)))
    import torch  # takes seconds to import

    from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt  # takes seconds to import
    from pandagpt_core.convert.embedding_gemma2 import EmbeddingGemma2Folder
    from pandagpt_core.convert.languagebind import LanguageBindFolders
    from pandagpt_core.convert.pandagpt import sizes_of

    options = PandaGPTOptions(
        model_id=arguments.id or arguments.out.name,
        template=arguments.template,
        licence=arguments.llm_licence,
        sizes=imagebind_sizes(arguments) or (HUGE if other else sizes_of(arguments.imagebind)),
        lora_alpha=arguments.lora_alpha,
        dtype=getattr(torch, arguments.dtype) if arguments.dtype else None,
        max_model_len=arguments.max_model_len,
    )
    folders = arguments.languagebind and LanguageBindFolders(arguments.languagebind, **further)
    gemma = arguments.embedding_gemma2 and EmbeddingGemma2Folder(arguments.embedding_gemma2)
    originals = PandaGPTOriginals(folders or gemma or arguments.imagebind, arguments.llm, arguments.delta)
    made = convert_pandagpt(originals, arguments.out, options, Progress())
    bos = made.bos
    begins = f"begins with {bos.piece} (id {bos.id}, by {bos.source})" if bos else "begins with no token of its own"
    licences = ", ".join(f"{part} {licence}" for part, licence in made.provenance["licences"].items())
    head = f"{arguments.out}: {made.id}, context {made.max_model_len}, {begins}"
    head = f"{head}\ntemplate {made.template}; licences: {licences}"
    if arguments.delta is None:
        how = "docs/guides/training.md says how to train it: pandagpt train --config FILE"
        return f"{head}\nits projection is untrained; {how}"
    return f"{head}\nserve it: pandagpt serve --model {arguments.out}"
