"""Read Qt resource bundles (.rcc), the format in which one of the validation packages keeps its media."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_COMPRESSED, _DIRECTORY, _ZSTD = 1, 2, 4


def read_rcc(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path inside the bundle, content) for every file of the bundle, in the tree's order.

    Layout (Qt, qresource.cpp): "qres", version, offsets of tree, data and names, all big-endian; a tree node is 14
    bytes, and 22 from version 2 on. Files compressed with Zstandard are left out: the package has none.
    """
    raw = path.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4s4I", raw)
    if magic != b"qres":
        raise ValueError(f"{path.name} is not a Qt resource bundle")
    size = 14 if version == 1 else 22

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", raw, names + offset)
        start = names + offset + 6
        return raw[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * size
        name_offset, flags = struct.unpack_from(">IH", raw, at)
        here = f"{prefix}/{name(name_offset)}" if index else ""
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">II", raw, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here)
        elif not flags & _ZSTD:
            (offset,) = struct.unpack_from(">I", raw, at + 10)
            (length,) = struct.unpack_from(">I", raw, data + offset)
            content = raw[data + offset + 4 : data + offset + 4 + length]
            # A compressed entry begins with the size of what it holds.
            yield here, zlib.decompress(content[4:]) if flags & _COMPRESSED else content

    yield from walk(0, "")
