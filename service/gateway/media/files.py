"""Uploaded files in the store: kept for a day or so, seen by their own tenant only.

A file is there once its entry marks it as whole, which is written after its last piece.
"""

import asyncio
import builtins
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from service.broker import scripts
from service.broker.connection import AsyncStore, store_errors
from service.broker.errors import StoreUnavailable
from service.broker.gateway.batches import LONGEST_WINDOW
from service.broker.keys import Keys
from service.gateway.background import BackgroundTasks
from service.gateway.errors import GatewayError
from service.gateway.media.sources import Content

PIECE = 1 << 20
UPLOAD_S = 300  # for which an upload counts against the quota, if its gateway dies
GIVEN_UP_S = 60  # seconds; longer than a command to the store may take
PROLONG_TRIES = 5
PROLONGED_S = 3600  # for which a batch's input stays after the batch's window, while its files are written


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a file. Times in Unix seconds. `whole`: false during its upload, when it only counts. `given_up`: its
    upload failed, and does not count. `content`: the id under which its pieces lie; "" for its own."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created: int
    expires: int
    sha256: str
    whole: bool = True
    content: str = ""
    given_up: bool = False


_decoder = msgspec.msgpack.Decoder(FileInfo)


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one tenant: files, bytes of all of them, and seconds that each is kept."""

    files: int
    bytes: int
    ttl_s: float


def new_file_id() -> str:
    """In order of time, for lists that come in pages."""
    return f"file-{time.time_ns():016x}{secrets.token_hex(8)}"


class FileStore:
    """All methods raise StoreUnavailable, and `file_not_found` for a file that is not the tenant's."""

    def __init__(self, store: AsyncStore, keys: Keys, quota: Quota) -> None:
        self._store, self._keys, self.quota = store, keys, quota
        self._background = BackgroundTasks()

    async def add(
        self, tenant: str, filename: str, purpose: str, data: bytes, sha256: str, life_s: int | None = None
    ) -> FileInfo:
        """life_s: of the file, at most the store's own. Raises `too_large` where the tenant's quota is used up.

        An upload that fails, or whose caller leaves, counts no longer, whatever the store did of it or does late.
        """
        now = int(time.time())
        info = FileInfo(
            id=new_file_id(),
            filename=filename,
            purpose=purpose,
            bytes=len(data),
            created=now,
            expires=now + (life := min(round(self.quota.ttl_s), life_s or round(self.quota.ttl_s))),
            sha256=sha256,
        )
        upload = msgspec.structs.replace(info, whole=False, expires=now + min(life, UPLOAD_S))
        key = self._keys.file(tenant, info.id)
        try:
            await self._reserve(tenant, upload)
            with store_errors():
                for at in range(0, len(data), PIECE):
                    await self._push(key, data[at : at + PIECE], min(life, UPLOAD_S))
                if not await self._replace(tenant, upload, info, life):
                    raise StoreUnavailable(f"the upload of {info.id} is gone before its end", passing=True)
        except GatewayError:
            await self._give_up(tenant, info).wait()
            raise
        except BaseException:
            self._give_up(tenant, info)
            raise
        return info

    async def write(self, tenant: str, file_id: str, filename: str, purpose: str, lines: AsyncIterator[bytes]) -> int:
        """Write a file of lines under a known id, anew where it was begun before; how many they are.

        No file where there are none. It is not held against the tenant's quota until it is there. Each try has a place
        of its own for its pieces: a command of an earlier one that the store gets late finds nothing of this one.
        """
        content, now, hasher = new_file_id(), int(time.time()), hashlib.sha256()
        key = self._keys.file(tenant, content)
        count, size, waiting, life = 0, 0, bytearray(), round(self.quota.ttl_s)
        with store_errors():
            async for line in lines:
                count, size = count + 1, size + len(line)
                for at in range(0, len(line), PIECE):  # a line may be as long as the file
                    waiting += (part := line[at : at + PIECE])
                    hasher.update(part)
                    if len(waiting) >= PIECE:
                        await self._push(key, bytes(waiting[:PIECE]), UPLOAD_S)
                        del waiting[:PIECE]
            if not count:
                return 0
            if waiting:
                await self._push(key, bytes(waiting), UPLOAD_S)
            if size and not await self._store.expire(key, life):
                raise StoreUnavailable(
                    f"the pieces of {file_id} are gone before the last one was written", passing=True
                )
            info = FileInfo(
                id=file_id,
                filename=filename,
                purpose=purpose,
                bytes=size,
                created=now,
                expires=now + life,
                sha256=hasher.hexdigest(),
                content=content,
            )
            await self._enter(tenant, info)
        return count

    async def close(self) -> None:
        await self._background.close()

    async def _enter(self, tenant: str, info: FileInfo, command: str = "HSET") -> None:
        life = round(self.quota.ttl_s) + LONGEST_WINDOW + PROLONGED_S
        await self._write(self._keys.files(tenant), life, command, info.id, msgspec.msgpack.encode(info))

    async def _replace(self, tenant: str, entry: FileInfo | bytes, longer: FileInfo, life: int) -> bool:
        """Put an entry in place of the one that is known, with the life of its pieces (seconds). False where another
        stands there, or the pieces are gone."""
        known = entry if isinstance(entry, bytes) else msgspec.msgpack.encode(entry)
        names = (self._keys.files(tenant), self._place(tenant, longer))
        arguments = (longer.id, known, msgspec.msgpack.encode(longer), life, longer.bytes)
        return bool(await self._store.eval(scripts.PROLONG, 2, *names, *arguments))

    def _give_up(self, tenant: str, info: FileInfo) -> asyncio.Event:
        """Put an entry in the upload's place that keeps out its late commands. Set after the first try."""
        gone = msgspec.structs.replace(info, bytes=0, whole=False, given_up=True, expires=int(time.time()) + GIVEN_UP_S)

        async def write() -> None:
            with store_errors():
                await self._enter(tenant, gone)
                await self._store.execute_command("UNLINK", self._place(tenant, info))

        return self._background.until_stored(write, UPLOAD_S)

    async def _push(self, key: str, piece: bytes, life_s: int) -> None:
        await self._write(key, life_s, "RPUSH", piece)

    async def _write(self, key: str, life_s: int, command: str, *arguments: str | bytes) -> None:
        await self._store.eval(scripts.EXPIRING, 1, key, life_s, command, *arguments)

    async def list(self, tenant: str) -> list[FileInfo]:
        """The tenant's files, oldest first."""
        return [info for info in await self._counted(tenant) if info.whole]

    async def _counted(self, tenant: str) -> builtins.list[FileInfo]:
        """The tenant's files and uploads."""
        with store_errors():
            found: Any = await self._store.execute_command("HVALS", self._keys.files(tenant))
            infos = [_decoder.decode(value) for value in found]
            now = time.time()
            if expired := [info.id for info in infos if info.expires <= now]:
                await self._store.execute_command("HDEL", self._keys.files(tenant), *expired)
        return sorted((info for info in infos if info.expires > now and not info.given_up), key=lambda info: info.id)

    async def info(self, tenant: str, file_id: str) -> FileInfo:
        return (await self._entry(tenant, file_id))[1]

    async def _entry(self, tenant: str, file_id: str) -> tuple[bytes, FileInfo]:
        """The record of the file as the store holds it, and its fields."""
        with store_errors():
            found: Any = await self._store.execute_command("HGET", self._keys.files(tenant), file_id)
        info = None if found is None else _decoder.decode(found)
        if info is None or not info.whole or info.expires <= time.time():
            raise GatewayError("file_not_found", "There is no such file.")
        return found, info

    async def keep_until(self, tenant: str, file_id: str, until: float) -> FileInfo:
        """The file, which lives until that Unix time at least and `PROLONGED_S` more."""
        for _ in range(PROLONG_TRIES):  # another batch of the same file may prolong it at the same time
            entry, info = await self._entry(tenant, file_id)
            longer = msgspec.structs.replace(info, expires=max(info.expires, round(until) + PROLONGED_S))
            life = longer.expires - int(time.time())
            with store_errors():
                if await self._replace(tenant, entry, longer, life):
                    return longer
        raise GatewayError("file_not_found", "There is no such file.")

    async def pieces(self, tenant: str, info: FileInfo) -> AsyncIterator[bytes]:
        """The file's bytes. Ends with `file_not_found` where it expires meanwhile."""
        for at in range(-(-info.bytes // PIECE)):
            with store_errors():
                piece: Any = await self._store.execute_command("LINDEX", self._place(tenant, info), at)
            if piece is None:
                raise GatewayError("file_not_found", "There is no such file.")
            yield piece

    async def open(self, tenant: str, file_id: str) -> Content:
        """The file whole, with its hash."""
        info = await self.info(tenant, file_id)
        return Content(b"".join([piece async for piece in self.pieces(tenant, info)]), info.sha256)

    async def delete(self, tenant: str, file_id: str) -> None:
        info = await self.info(tenant, file_id)
        with store_errors():  # the entry last: while it is there, a repeat finds the bytes that an earlier try left
            await self._store.execute_command("UNLINK", self._place(tenant, info))
            await self._store.execute_command("HDEL", self._keys.files(tenant), file_id)

    def _place(self, tenant: str, info: FileInfo) -> str:
        """The key of its pieces."""
        return self._keys.file(tenant, info.content or info.id)

    async def _reserve(self, tenant: str, info: FileInfo) -> None:
        """Write the entry, then count: two uploads at once may both be refused, but never both pass the quota."""
        with store_errors():
            await self._enter(tenant, info, "HSETNX")
        infos = await self._counted(tenant)
        count, total = len(infos), sum(one.bytes for one in infos)
        if count > self.quota.files or total > self.quota.bytes:
            limit = f"{self.quota.files} files and {self.quota.bytes} bytes"
            raise GatewayError(
                "too_large", f"The files of this key would be {count} of {total} bytes; the limit is {limit}."
            )
