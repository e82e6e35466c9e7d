"""One file of weights turned into one safetensors file of a model folder, one tensor in memory at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open

from pandagpt_core.checkpoints import Shape, cast, read_layout, read_pickled, write_safetensors
from pandagpt_core.checkpoints.soundness import check_file, check_type, check_values
from pandagpt_core.errors import CheckpointError

ByteProgress = Callable[[int], None]  # called with the bytes just written
FetchTensor = Callable[[str], torch.Tensor]
TensorLayout = Mapping[str, torch.Tensor]  # key -> a tensor whose shape and type count, often a meta tensor
Change = Callable[[torch.Tensor], torch.Tensor]  # of a tensor on its way into the new file


@dataclass(frozen=True, slots=True)
class Part:
    """`target`, below the model folder, is to hold `keys` (new name -> the source's name) of the file `source`.

    layout: by new name, in the source's types, before the changes. changes: by new name. extra: small tensors of no
    source, by name.
    """

    target: str
    source: Path
    keys: Mapping[str, str]
    layout: TensorLayout
    changes: Mapping[str, Change] = field(default_factory=dict)
    extra: TensorLayout = field(default_factory=dict)

    def shapes(self) -> dict[str, Shape]:
        return {key: tuple(tensor.shape) for key, tensor in self.layout.items()}

    def size(self, dtype: torch.dtype | None) -> int:
        """Bytes of weights to be written."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.written(dtype).values())

    def written(self, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        """Key -> a tensor of the shape and type that is to be written."""
        changed = {
            key: self.changes[key](tensor) if key in self.changes else tensor for key, tensor in self.layout.items()
        }
        return {key: cast(tensor, dtype) for key, tensor in {**changed, **self.extra}.items()}

    def tensor(self, key: str, fetch: FetchTensor) -> torch.Tensor:
        """The tensor to write as `key`, in the source's type."""
        if key in self.extra:
            return self.extra[key]
        tensor = fetch(self.keys[key])
        return self.changes[key](tensor) if key in self.changes else tensor


def plan_part(target: str, source: Path, names: Callable[[str], str | None]) -> Part:
    """A part of every key that `names` gives a new name.

    Of two keys with one new name, the later gets a name that shows it; the account then finds it left over.
    """
    keys: dict[str, str] = {}
    layout: dict[str, torch.Tensor] = {}
    if source.is_file():
        check_file(source)
    with opened(source) as (held, _):
        for old, tensor in held.items():
            new = names(old)
            if new is not None:
                check_type(source, old, tensor)
                new = f"{old} (which doubles {new})" if new in keys else new
                keys[new], layout[new] = old, torch.empty_like(tensor, device="meta")
    return Part(target, source, keys, layout)


def write_part(folder: Path, part: Part, dtype: torch.dtype | None, progress: ByteProgress) -> str:
    """Write the part below `folder`, floats as `dtype` (None keeps them); the new file's hex SHA-256."""
    with opened(part.source) as (_, fetch):

        def fetch_new(key: str) -> torch.Tensor:
            tensor = check_values(part.source, part.keys.get(key, key), part.tensor(key, fetch), dtype)
            progress(tensor.numel() * tensor.element_size())
            return tensor

        return write_safetensors(folder / part.target, part.written(dtype), fetch_new)


@contextmanager
def opened(path: Path) -> Iterator[tuple[TensorLayout, FetchTensor]]:
    """The layout of a weights file and a function to fetch each tensor; the file is mapped until the block ends."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path.name}")
    if path.suffix == ".safetensors":
        layout = read_layout(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            yield layout, file.get_tensor
    else:
        tensors = read_pickled(path)
        yield tensors, tensors.__getitem__
