"""A model folder that appears whole or not at all."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pandagpt_core.checkpoints import check_model_folder, write_model_folder
from pandagpt_core.checkpoints.systems import Folder
from pandagpt_core.convert.parts import ByteProgress
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.config import LlamaConfig

ProgressOf = Callable[[int, int], None]  # called with the bytes of weights written so far and in all


def silent(_done: int, _total: int) -> None:
    """No progress is shown."""


def write_folder(out: Path, size: int, fill: Callable[[Path, ByteProgress], Folder], progress: ProgressOf) -> Folder:
    """The folder `out` with `size` bytes of weights. `fill` writes its files and gives the content of config.json.

    Raises CheckpointError where `out` exists, the disk is full or the content is unsound.
    """
    refuse_existing(out)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, size)

    with _appearing(out, size) as folder:
        described = fill(folder, advance)
        check_model_folder(described)
        write_model_folder(folder, described)
    return described


def refuse_existing(out: Path) -> None:
    """Before hours of planning and writing."""
    if out.exists():
        raise CheckpointError(f"{out.name} exists; a model folder is never overwritten")


def check_max_model_len(max_model_len: int | None, config: LlamaConfig) -> None:
    """Raises CheckpointError for a context that is longer than the language model's."""
    if (max_model_len or 1) > config.max_positions:
        raise CheckpointError(f"max_model_len is {max_model_len}, the model has {config.max_positions} positions")


@contextmanager
def _appearing(out: Path, size: int) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out.parent).free
    if free < size:
        raise CheckpointError(f"the model folder needs {size:,} bytes, the disk has {free:,} free")
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        yield partial
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
