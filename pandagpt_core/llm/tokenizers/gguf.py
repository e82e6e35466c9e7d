"""Byte-pair tokenizers in the metadata of a GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.bpe import BPETokenizer
from pandagpt_core.llm.tokenizers.gguf_reader import PlainReader

# Kinds of tokens in tokenizer.ggml.token_type. A user-defined one is text that is a token of its own ("<tool_call>").
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Splitter:
    """Preparation of a text before merging: the normal form, then the split."""

    parts: tuple[pre_tokenizers.PreTokenizer, ...]
    normalizer: normalizers.Normalizer | None = None


SPLITTERS: Mapping[str, Splitter] = MappingProxyType(
    {
        "smollm": Splitter(
            (pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False))
        ),
        "gpt-2": Splitter((pre_tokenizers.ByteLevel(add_prefix_space=False),)),
        "qwen2": Splitter(
            (
                pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ),
            normalizers.NFC(),
        ),
    }
)


def read_tokenizer(path: Path) -> BPETokenizer:
    """The byte-pair tokenizer in the file's metadata. Raises CheckpointError for other kinds."""
    reader = PlainReader(path)
    kind, splitter = field(reader, "tokenizer.ggml.model"), field(reader, "tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or splitter not in SPLITTERS:
        raise CheckpointError(f"the GGUF file's tokenizer is {kind!r} split as {splitter!r}, which is not supported")
    tokens: list[str] = field(reader, "tokenizer.ggml.tokens")
    types: list[int] = field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field(reader, "tokenizer.ggml.merges")]
    backend = Backend(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    if (normalizer := SPLITTERS[splitter].normalizer) is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(list(SPLITTERS[splitter].parts))
    backend.add_special_tokens([AddedToken(tokens[at], special=True) for at in _of(types, CONTROL)])
    backend.add_tokens([AddedToken(tokens[at], normalized=False) for at in _of(types, USER_DEFINED)])
    bos_id = field(reader, "tokenizer.ggml.bos_token_id", None)
    eos_id = field(reader, "tokenizer.ggml.eos_token_id", None)
    ends = frozenset() if eos_id is None else frozenset({eos_id})
    return BPETokenizer(backend, [*_of(types, CONTROL), *_of(types, UNUSED)], bos_id, ends)


def _of(types: list[int], kind: int) -> list[int]:
    return [index for index, found in enumerate(types) if found == kind]


_REQUIRED = object()


def field(reader: GGUFReader, name: str, default: Any = _REQUIRED) -> Any:
    """A field of the metadata. Raises CheckpointError for one that is absent and has no default."""
    found = reader.get_field(name)
    if found is not None:
        return found.contents()
    if default is _REQUIRED:
        raise CheckpointError(f"the GGUF file's metadata has no {name!r}")
    return default
