"""Byte-pair tokenizers in the metadata of a GGUF file."""

from pathlib import Path
from typing import Any

from gguf import GGUFReader
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.bpe import BPETokenizer

CONTROL_TOKEN = 3  # of tokenizer.ggml.token_type
# How each vocabulary splits text before merging: its name in the file to the splitters.
SPLITTERS: dict[str, list[pre_tokenizers.PreTokenizer]] = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
}


def read_tokenizer(path: Path) -> BPETokenizer:
    """The byte-pair tokenizer in the file's metadata. Raises CheckpointError for other kinds."""
    reader = GGUFReader(path)
    kind, splitter = field(reader, "tokenizer.ggml.model"), field(reader, "tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or splitter not in SPLITTERS:
        raise CheckpointError(f"the GGUF file's tokenizer is {kind!r} split as {splitter!r}, which is not supported")
    tokens: list[str] = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in field(reader, "tokenizer.ggml.merges")]
    backend = Backend(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(SPLITTERS[splitter])
    types: list[int] = field(reader, "tokenizer.ggml.token_type")
    control = [index for index, kind in enumerate(types) if kind == CONTROL_TOKEN]
    backend.add_special_tokens([AddedToken(tokens[index], special=True) for index in control])
    bos_id = field(reader, "tokenizer.ggml.bos_token_id", None)
    eos_id = field(reader, "tokenizer.ggml.eos_token_id", None)
    return BPETokenizer(backend, control, bos_id, frozenset() if eos_id is None else frozenset({eos_id}))


_REQUIRED = object()


def field(reader: GGUFReader, name: str, default: Any = _REQUIRED) -> Any:
    """A field of the metadata. Raises CheckpointError for one that is absent and has no default."""
    found = reader.get_field(name)
    if found is not None:
        return found.contents()
    if default is _REQUIRED:
        raise CheckpointError(f"the GGUF file's metadata has no {name!r}")
    return default
