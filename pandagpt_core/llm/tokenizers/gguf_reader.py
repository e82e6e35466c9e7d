"""The `gguf` package's reader, without an object of its own for each number of a vocabulary.

The package makes several views of a mapped file for each token. That was a third of the processor time of a worker's
start, and left its memory full of holes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, GGUFValueType

HEAD = 12  # bytes before an array's items: their type, 4, and their number, 8


class PlainReader(GGUFReader):
    """Fields and tensors are those of the package's reader."""

    @property  # type: ignore[override]  # an attribute there, which is set once
    def data(self) -> npt.NDArray[np.uint8]:
        return self._plain

    @data.setter
    def data(self, mapped: npt.NDArray[np.uint8]) -> None:
        self._plain = mapped.view(np.ndarray)  # a view of a memmap costs ten times as much as one of an array

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[npt.NDArray[Any]], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY or self.byte_order != "I":
            return super()._get_field_parts(orig_offs, raw_type)
        kind = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        count = int(self._get(orig_offs + 4, np.uint64)[0])
        if kind == GGUFValueType.STRING:
            items, end = self._strings(orig_offs + HEAD, count)
        elif kind in self.gguf_scalar_to_np:
            items = [self._get(orig_offs + HEAD, self.gguf_scalar_to_np[kind], count)]
            end = orig_offs + HEAD + items[0].nbytes
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        return end - orig_offs, items, list(range(len(items))), [GGUFValueType.ARRAY, kind]

    def _strings(self, offset: int, count: int) -> tuple[list[npt.NDArray[Any]], int]:
        """So many strings from there on, and where they end. Raises ValueError where the file ends before them."""
        found, view = [], self._plain.data
        for _ in range(count):
            begin = offset + 8
            if begin > len(view):
                raise ValueError("the GGUF file ends within its metadata")
            offset = begin + int.from_bytes(view[offset:begin], "little")
            found.append(self._plain[begin:offset])
        return found, offset
