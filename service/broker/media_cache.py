"""Media in the store: encoder inputs on their way to a worker, embeddings for every later use of a medium.

Both are named by content: SHA-256 over the tenant's salted name, the encoder's digest and the medium's digest (which
itself covers the bytes, the modality and the preprocessing). So no tenant can learn from a cache what another sent.
A value is a MessagePack header with dtype and shape, and the raw little-endian bytes; never a pickle. An embedding is
[n, E]: a row or a few for a medium of PandaGPT, 256 for a picture of MiniGPT-v2, float32 or float16.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from service.broker.connection import DRIVER_ERRORS, SyncStore, raise_translated, store_errors
from service.broker.keys import Keys
from service.broker.protocol import UNREADABLE
from service.settings import StoreSettings

MAX_AXES = 8
LARGE = 64 << 10  # bytes of an embedding from which it counts against the budget; a picture of MiniGPT-v2 has 2.9 MB
DROPPED_LIFE = 60  # seconds
LAYOUT = "2"  # of the values; part of each name, so that no process reads a value of another layout


class CorruptArray(Exception):
    """Stored bytes that are not an array; the medium counts as missing."""


class _Array(msgspec.Struct, frozen=True, tag="array.v2"):
    dtype: Literal["<f2", "<f4", "<i8", "<i2", "|u1"]
    shape: tuple[int, ...]
    data: memoryview


_decoder = msgspec.msgpack.Decoder(_Array)
_encoder = msgspec.msgpack.Encoder()


def media_name(tenant: str, encoder_digest: str, digest: str) -> str:
    """The name of a medium for one tenant and one encoder (`ModelInfo.digest_of`), for `MediaPart.blob`."""
    fields = [part.encode() for part in (LAYOUT, tenant, encoder_digest, digest)]
    # Lengths in front: no two names of different parts are equal.
    return hashlib.sha256(b"".join(len(field).to_bytes(4, "little") + field for field in fields)).hexdigest()


def pack(array: np.ndarray) -> bytes:
    """An array of float16, float32, int64, int16 or uint8 as bytes. Raises TypeError for any other dtype."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if little.dtype.str not in ("<f2", "<f4", "<i8", "<i2", "|u1"):
        raise TypeError(f"arrays are stored as float16, float32, int64, int16 or uint8, not {array.dtype}")
    # A memoryview of an empty array cannot be cast; tobytes costs a copy but takes everything.
    return _encoder.encode(_Array(little.dtype.str, little.shape, memoryview(little.tobytes())))  # type: ignore[arg-type]  # checked above


def unpack(blob: bytes) -> np.ndarray:
    """The array again, read-only, without a copy. Raises CorruptArray."""
    try:
        header = _decoder.decode(blob)
    except UNREADABLE as error:
        raise CorruptArray(str(error)) from None
    size = math.prod(header.shape) * np.dtype(header.dtype).itemsize
    if len(header.shape) > MAX_AXES or min(header.shape, default=0) < 0 or size != header.data.nbytes:
        raise CorruptArray(f"{header.data.nbytes} bytes are no {header.dtype} of shape {header.shape}")
    return np.frombuffer(header.data, header.dtype).reshape(header.shape)


class MediaCache:
    """The gateway's side: which media must still be decoded, and where the arrays go. Fills pipelines of its caller."""

    def __init__(self, keys: Keys, settings: StoreSettings) -> None:
        self._array, self._embedding, self._notes = keys.array, keys.embedding, keys.media_notes
        self._settings = settings

    def look_up(self, pipe: Any, names: Sequence[str], life: float = 0.0) -> None:
        """Two commands a name, whose answers `missing` reads. Media that are there get their full life again, at least
        `life` seconds: that of the request, which may wait so long for its turn."""
        for name in names:
            pipe.expire(self._embedding(name), math.ceil(max(life, self._settings.embedding_ttl_s)))
            pipe.expire(self._array(name), math.ceil(max(life, self._settings.array_ttl_s)))

    @staticmethod
    def missing(names: Sequence[str], answers: Sequence[Any]) -> set[str]:
        """The names of which the store has neither embedding nor array."""
        found = zip(names, answers[::2], answers[1::2], strict=True)
        return {name for name, embedding, array in found if not embedding and not array}

    def put_notes(self, pipe: Any, notes: Mapping[str, bytes]) -> None:
        """Keep readers' notes on media, for as long as their embeddings."""
        for name, packed in notes.items():
            pipe.set(self._notes(name), packed, ex=round(self._settings.embedding_ttl_s))

    def put_embeddings(self, pipe: Any, embeddings: Mapping[str, np.ndarray]) -> None:
        """Embeddings that are known without an encoder."""
        for name, embedding in embeddings.items():
            pipe.set(self._embedding(name), pack(embedding), ex=round(self._settings.embedding_ttl_s))

    def put(self, pipe: Any, arrays: Mapping[str, np.ndarray], life: float) -> Any:
        """One command an array, which stores it for at least `life` seconds; the pipeline."""
        seconds = math.ceil(max(life, self._settings.array_ttl_s))
        for name, array in arrays.items():
            pipe.set(self._array(name), pack(array), ex=seconds)
        return pipe


class EmbeddingCache:
    """The worker's side: embeddings if anyone made them, else arrays; and new embeddings for all."""

    def __init__(self, store: SyncStore, keys: Keys, settings: StoreSettings) -> None:
        self._store, self._large, self._settings = store, keys.large, settings
        self._array, self._embedding = keys.array, keys.embedding

    def embeddings(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The embeddings that are there, as [n, E]; their lives begin anew."""
        found = self._fetch(names, self._embedding, "GETEX", "EX", round(self._settings.embedding_ttl_s))
        if any(rows.nbytes >= LARGE for rows in found.values()):
            with store_errors():
                pipe = self._store.pipeline(transaction=False)
                self._note_use(pipe, found)
                pipe.execute()
        return found

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The encoder inputs that are there, first axis clips."""
        return self._fetch(names, self._array, "GET")

    def drop_array(self, name: str) -> None:
        """An encoder input that no other request uses."""
        with store_errors():
            self._store.unlink(self._array(name))

    def add(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Keep new embeddings and drop their arrays, which are not needed any more. Losing them costs work only."""
        packed = {name: pack(embedding) for name, embedding in embeddings.items()}
        some_large = any(rows.nbytes >= LARGE for rows in embeddings.values())
        pipe = self._store.pipeline(transaction=False)
        for name, blob in packed.items():
            pipe.set(self._embedding(name), blob, ex=round(self._settings.embedding_ttl_s))
            pipe.unlink(self._array(name))
        if some_large:
            self._note_use(pipe, embeddings)
        try:
            pipe.execute()
        except DRIVER_ERRORS as error:
            raise_translated(error)
        if some_large:
            self._drop_oldest()

    def _note_use(self, pipe: Any, embeddings: Mapping[str, np.ndarray]) -> None:
        """Note now as the last use of the large ones."""
        large = {f"{name}|{rows.nbytes}": time.time() for name, rows in embeddings.items() if rows.nbytes >= LARGE}
        pipe.zadd(self._large, large)
        pipe.expire(self._large, round(self._settings.embedding_ttl_s))

    def _drop_oldest(self) -> None:
        """Give embeddings beyond the budget a short life and no place in the index. One that a gateway has just
        promised to a request lives on, since that gave it a full life again, and its next use puts it back."""
        with store_errors():
            members: Any = self._store.zrange(self._large, 0, -1, desc=True)  # the newest first
            held, dropped = 0, []
            for member in members:
                held += int(member.rpartition(b"|")[2])
                if held > self._settings.embedding_cache_bytes:
                    dropped.append(member)
            if dropped:
                pipe = self._store.pipeline(transaction=False)
                for member in dropped:
                    pipe.expire(self._embedding(member.rpartition(b"|")[0].decode()), DROPPED_LIFE)
                pipe.zrem(self._large, *dropped)
                pipe.execute()

    def _fetch(
        self, names: Sequence[str], key: Callable[[str], str], command: str, *arguments: str | int
    ) -> dict[str, np.ndarray]:
        if not names:
            return {}
        pipe = self._store.pipeline(transaction=False)
        for name in names:
            pipe.execute_command(command, key(name), *arguments)
        try:
            answers = pipe.execute()
        except DRIVER_ERRORS as error:
            raise_translated(error)
        found: dict[str, np.ndarray] = {}
        for name, blob in zip(names, answers, strict=True):
            if blob is not None:
                try:
                    found[name] = unpack(blob)
                except CorruptArray:
                    continue  # counts as missing; the request fails with its own error, or it is encoded again
        return found
