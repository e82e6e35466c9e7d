"""Qt resource bundles: the contents of a small one made by hand."""

import struct
import zlib
from pathlib import Path

import pytest

from recipes.panda_mini.data.rcc import read_rcc


def bundle(content: bytes, flags: int, stored: bytes) -> bytes:
    """A version 1 bundle of one folder "a" with one file "b"."""
    names = b"".join(struct.pack(">HI", 1, 0) + letter.encode("utf-16-be") for letter in "ab")
    data = struct.pack(">I", len(stored)) + stored
    tree = (
        struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", 0, 2, 1, 2) + struct.pack(">IHHHI", 8, flags, 0, 0, 0)
    )
    head = 20
    offsets = (head, head + len(tree), head + len(tree) + len(data))
    return struct.pack(">4s4I", b"qres", 1, *offsets) + tree + data + names


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_is_found_by_its_path(tmp_path: Path, compressed: bool) -> None:
    content = b"a picture" * 5
    stored = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
    (tmp_path / "x.rcc").write_bytes(bundle(content, int(compressed), stored))
    assert list(read_rcc(tmp_path / "x.rcc")) == [("/a/b", content)]


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.rcc").write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(ValueError, match="not a Qt resource bundle"):
        list(read_rcc(tmp_path / "x.rcc"))
