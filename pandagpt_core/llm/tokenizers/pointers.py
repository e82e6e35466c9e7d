"""Files of git-lfs: a clone without it holds a pointer of three lines in the place of each large file."""

from pathlib import Path

from pandagpt_core.errors import CheckpointError

_LFS = b"version https://git-lfs.github.com/spec/"


def check_no_pointer(path: Path) -> None:
    """Raise CheckpointError for a pointer in the place of the file; a file that is not there is none."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(len(_LFS))
    if head == _LFS:
        raise CheckpointError(f"{path.name} is a git-lfs pointer, not the file: fetch it with `git lfs pull`")
