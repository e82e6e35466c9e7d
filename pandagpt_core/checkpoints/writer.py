"""Writing safetensors in a stream: the header first, then one tensor at a time, hashed on the way."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import torch

# The format's names (https://huggingface.co/docs/safetensors) for the types that weights come in.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
BytesPiece = bytes | memoryview
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8  # of the header's end, so that every tensor of whole words can be mapped in place


def write_safetensors(path: Path, layout: Mapping[str, torch.Tensor], fetch: Callable[[str], torch.Tensor]) -> str:
    """Write a new file of `layout`'s keys, each fetched when its turn comes; the file's hex SHA-256.

    `layout` may hold meta tensors: only shapes and types are read, so no more than one tensor need be in memory.
    """
    layout = dict(sorted(layout.items(), key=lambda item: -item[1].element_size()))  # keeps every tensor aligned
    return write_pieces(path, layout, _tensors(layout, fetch))


def write_pieces(path: Path, layout: Mapping[str, torch.Tensor], pieces: Iterable[BytesPiece]) -> str:
    """Write a new file whose tensors' bytes come in order, in pieces of any length; the file's hex SHA-256."""
    digest, header = hashlib.sha256(), _header(layout)
    left = len(header) + sum(tensor.numel() * tensor.element_size() for tensor in layout.values())
    with path.open("xb") as file:
        for data in chain((header,), pieces):
            file.write(data)
            digest.update(data)
            left -= len(data)
    assert left == 0, f"{path.name}: the pieces are {-left} bytes more than the tensors"
    return digest.hexdigest()


def _tensors(layout: Mapping[str, torch.Tensor], fetch: Callable[[str], torch.Tensor]) -> Iterator[BytesPiece]:
    for key, like in layout.items():
        tensor = fetch(key)
        assert (tensor.shape, tensor.dtype) == (like.shape, like.dtype)
        yield _bytes(tensor)


def _header(layout: Mapping[str, torch.Tensor]) -> bytes:
    entries = {}
    offset = 0
    for key, tensor in layout.items():
        end = offset + tensor.numel() * tensor.element_size()
        entries[key] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return len(header).to_bytes(8, "little") + header


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
