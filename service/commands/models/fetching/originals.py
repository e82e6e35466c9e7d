"""The table of what the authors published: which files make which system, where they are, and under what terms.

Addresses are those of the authors' own pages and code. No author publishes SHA-256 sums on a page; a host that sends
one with a file (Hugging Face, `X-Linked-Etag`) is believed, and the first download is recorded (`checksums.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.commands.models.fetching import licences
from service.commands.models.fetching.licences import Licence

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Layout:
    """Files of a language model's folder. `mark` is always there, `texts` may be; the first of `singles` that is there
    holds the weights, unless an index among the texts names shards."""

    mark: str
    texts: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    singles: tuple[str, ...] = ()


HUGGING_FACE = Layout(
    mark="config.json",
    texts=("generation_config.json", "tokenizer.model", "tokenizer.json", "tokenizer_config.json",
           "special_tokens_map.json", "added_tokens.json"),
    indexes=("model.safetensors.index.json", "pytorch_model.bin.index.json"),
    singles=("model.safetensors", "pytorch_model.bin"),
)  # fmt: skip
META = Layout(mark="tokenizer.model", texts=("7B/params.json",), singles=("7B/consolidated.00.pth",))
META_DELTA = Layout(mark="params.json", singles=("consolidated.00.pth",))
META_SUM = Layout(
    "params.json", texts=("tokenizer.model",), singles=("consolidated.00.safetensors", "consolidated.00.pth")
)


@dataclass(frozen=True, slots=True)
class Original:
    """A file, or with a `layout` a folder, that authors publish.

    path: its place below the folder of downloads and below a mirror. url: its address; None where it cannot be had
    without an account, a request or a browser, so that it must be given. page: where its authors publish it. size: of a
    file, where it is published. sha256: of the file at its own address, where it is published; files that are given and
    those of a mirror are recorded at first use.
    """

    path: str
    licence: Licence
    page: str
    url: str | None = None
    layout: Layout | None = None
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Summed:
    """A language model that is published as a difference: `whole` is used where it is given, else base + delta."""

    whole: Original
    base: Original
    delta: Original


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """`parts`: an option of `pandagpt convert` -> its file or folder."""

    system: str
    parts: Mapping[str, Original | Summed]


def _file(path: str, licence: Licence, page: str, url: str | None = None) -> Original:
    return Original(path, licence, page, url)


# The authors' page has no sum; others who downloaded the file have published this one, for 4,803,584,173 bytes.
_IMAGEBIND = Original(
    "imagebind_huge.pth",
    licences.IMAGEBIND,
    "https://github.com/facebookresearch/ImageBind",
    "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
    sha256="d6f6c22bedcc90708448d5d2fbb7b2db9c73f505dc89bd0b2e09b23af1b62157",
)


def _vicuna(size: str) -> Summed:
    """Version 0, made by the steps of PandaGPT's page."""
    llama = Original(f"llama-{size}", licences.LLAMA, licences.LLAMA.page, layout=HUGGING_FACE)
    delta = f"vicuna-{size}-delta-v0"
    page = f"{_HUB}/lmsys/{delta}"
    return Summed(
        whole=Original(f"vicuna-{size}-v0", licences.VICUNA, page, layout=HUGGING_FACE),
        base=llama,
        delta=Original(delta, licences.VICUNA, page, f"{page}/resolve/main", HUGGING_FACE),
    )


def _pandagpt(size: str, repository: str) -> PublishedSystem:
    page = f"{_HUB}/openllmplayground/{repository}"
    delta = _file(f"{repository}/pytorch_model.pt", licences.PANDAGPT, page, f"{page}/resolve/main/pytorch_model.pt")
    return PublishedSystem("pandagpt", {"imagebind": _IMAGEBIND, "llm": _vicuna(size), "delta": delta})


# The published 7B.pth was trained on Open-Chinese-LLaMA, itself a difference from LLaMA 7B (the authors' README).
_CHINESE = f"{_HUB}/Cxxs/Open-Chinese-LLaMA"
_BIND_LLAMA = Summed(
    whole=Original("7B_chinese", licences.OPEN_CHINESE_LLAMA, _CHINESE, layout=META_SUM),
    base=Original("llama", licences.LLAMA, licences.LLAMA.page, layout=META),
    delta=Original(
        "7B_chinese_delta",
        licences.OPEN_CHINESE_LLAMA,
        _CHINESE,
        f"{_CHINESE}/resolve/main/7B_chinese_delta",
        META_DELTA,
    ),
)
_BIND = f"{_HUB}/Cxxs/ImageBind-LLM"
_KNN = f"{_HUB}/csuhan/knn"

SYSTEMS: Mapping[str, PublishedSystem] = MappingProxyType(
    {
        "pandagpt-7b": _pandagpt("7b", "pandagpt_7b_max_len_1024"),
        "pandagpt-13b": _pandagpt("13b", "pandagpt_13b_max_len_400"),
        "imagebind-llm-7b": PublishedSystem(
            "imagebind-llm",
            {
                "imagebind": _IMAGEBIND,
                "llama": _BIND_LLAMA,
                "adapter": _file("7B.pth", licences.ADAPTER, _BIND, f"{_BIND}/resolve/main/7B.pth"),
                "cache": _file("knn.index", licences.ADAPTER, _KNN, f"{_KNN}/resolve/main/knn.index"),
            },
        ),
        "minigpt-v2-7b": PublishedSystem(
            "minigpt-v2",
            {
                "eva": _file(
                    "eva_vit_g.pth",
                    licences.EVA,
                    "https://github.com/salesforce/LAVIS",
                    "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth",
                ),
                "llm": Original("Llama-2-7b-chat-hf", licences.LLAMA_2, licences.LLAMA_2.page, layout=HUGGING_FACE),
                "checkpoint": _file(
                    "checkpoint.pth",
                    licences.MINIGPT_V2,
                    "https://github.com/Vision-CAIR/MiniGPT-4#getting-started (Google Drive, by a browser)",
                ),
            },
        ),
    }
)


def originals(system: PublishedSystem) -> list[Original]:
    """Every file and folder that may be needed."""
    found: list[Original] = []
    for part in system.parts.values():
        found += [part] if isinstance(part, Original) else [part.base, part.delta]
    return found
