"""Files: uploaded once, used by id in every door, kept apart by key, bounded by quota and life."""

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from openai import OpenAI

from pandagpt_core.media import samples
from pandagpt_core.types import Modality
from service.broker.connection import AsyncStore, connect_async
from service.broker.errors import StoreUnavailable
from service.broker.keys import Keys
from service.gateway.errors import GatewayError
from service.gateway.media.files import PIECE, FileStore, Quota
from service.gateway.state import GatewayState
from tests.chaos.store_proxy import HARMS, UNTIL_IT_LEAVES, Harm, store_proxy
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, WorkerThread

PNG = samples.picture("PNG")


def upload(http: httpx.Client, data: bytes = PNG, filename: str = "dog.png", **fields: str) -> httpx.Response:
    return http.post("/v1/files", data=fields, files={"file": (filename, data)})


def ask(http: httpx.Client, part: dict[str, object]) -> httpx.Response:
    return http.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}], "max_tokens": 3, "seed": 1}
    )


def test_a_file_is_kept_listed_given_back_and_forgotten(http: httpx.Client) -> None:
    info = upload(http, purpose="vision").json()
    assert (info["object"], info["bytes"], info["filename"], info["purpose"]) == ("file", len(PNG), "dog.png", "vision")
    assert info["expires_at"] > time.time()
    assert http.get(f"/v1/files/{info['id']}").json() == info
    assert http.get("/v1/files").json()["data"] == [info]
    content = http.get(f"/v1/files/{info['id']}/content")
    assert (content.content, content.headers["x-content-type-options"]) == (PNG, "nosniff")
    assert http.delete(f"/v1/files/{info['id']}").json() == {"id": info["id"], "object": "file", "deleted": True}
    for path in ("", "/content"):
        answer = http.get(f"/v1/files/{info['id']}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
    assert http.get("/v1/files").json()["data"] == []


def test_a_file_of_several_pieces_comes_back_whole(http: httpx.Client) -> None:
    data = bytes(range(256)) * (3 * 4096 + 1)
    info = upload(http, data).json()
    assert http.get(f"/v1/files/{info['id']}/content").content == data


async def test_a_file_of_short_lines_is_written_in_linear_time(valkey: Valkey) -> None:
    """The rest that waits for a whole piece was copied at every line: half a megabyte for each."""

    async def lines() -> AsyncIterator[bytes]:
        for _ in range(100_000):
            yield b"x" * 49 + b"\n"

    connection = connect_async(valkey.settings)
    files = FileStore(connection, Keys(), Quota(10, 1 << 30, 60))
    began = time.process_time()
    assert await files.write("ann", "file-1", "lines", "batch_output", lines()) == 100_000
    assert time.process_time() - began < 5
    whole = (await files.open("ann", "file-1")).data
    assert (len(whole), whole[:100]) == (5_000_000, (b"x" * 49 + b"\n") * 2)
    await connection.aclose()


class LateStore:
    """A store that one command reaches late: its caller gives up, and `arrive` does it."""

    def __init__(self, store: Any, late: int) -> None:
        self._store, self._left = store, late
        self.arrive: Callable[[], Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._command, name)

    async def _command(self, name: str, *arguments: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            return await getattr(self._store, name)(*arguments)
        self.arrive = partial(getattr(self._store, name), *arguments)
        raise TimeoutError


@pytest.mark.parametrize("late", range(5))
async def test_a_command_that_comes_late_harms_no_later_try(valkey: Valkey, late: int) -> None:
    """A batch's file is written again under its id where a command was not answered in time."""

    async def lines() -> AsyncIterator[bytes]:
        for number in range(3):
            yield bytes([number]) * (PIECE // 2 + 1)

    connection = connect_async(valkey.settings)
    slow = LateStore(connection, late)
    files, quota = FileStore(connection, Keys(), Quota(10, 1 << 30, 60)), Quota(10, 1 << 30, 60)
    with suppress(StoreUnavailable):
        await FileStore(cast(AsyncStore, slow), Keys(), quota).write("ann", "file-1", "a", "batch_output", lines())
    await files.write("ann", "file-1", "a", "batch_output", lines())
    if slow.arrive is not None:
        await slow.arrive()
    content = await files.open("ann", "file-1")
    assert content.sha256 == hashlib.sha256(content.data).hexdigest()
    assert len(content.data) == 3 * (PIECE // 2 + 1)
    assert (slow.arrive is None) == (late == 4)  # two pieces, the life, the entry
    assert [key for key in valkey.client.scan_iter() if valkey.client.ttl(key) == -1] == []
    await connection.aclose()


async def test_a_file_that_a_batch_needs_outlives_its_own_time(valkey: Valkey) -> None:
    connection = connect_async(valkey.settings)
    files = FileStore(connection, Keys(), Quota(10, 1 << 20, 60))
    info = await files.add("ann", "in.jsonl", "batch", b"lines", "0" * 64)
    longer = await files.keep_until("ann", info.id, time.time() + 7200)
    assert longer.expires >= time.time() + 7200
    await files.add("ann", "later", "batch", b"more", "0" * 64)  # its own life is shorter
    assert valkey.client.ttl(Keys().file("ann", info.id)) > 7200
    assert valkey.client.ttl(Keys().files("ann")) > 7200
    assert (await files.keep_until("ann", info.id, time.time())).expires == longer.expires
    await files.delete("ann", info.id)
    with pytest.raises(GatewayError, match="no such file"):
        await files.keep_until("ann", info.id, time.time() + 7200)
    await connection.aclose()


def test_every_door_takes_a_file_and_it_is_encoded_once(http: httpx.Client, runtime: FakeRuntime) -> None:
    file_id = upload(http).json()["id"]
    by_part = ask(http, {"type": "file", "file": {"file_id": file_id}, "modality": "image"})
    by_url = ask(http, {"type": "image_url", "image_url": {"url": f"file:{file_id}"}})
    assert by_part.json()["choices"] == by_url.json()["choices"]
    given = {"input": {"type": "image_url", "image_url": {"url": f"file:{file_id}"}}}
    assert http.post("/v1/embeddings", json=given).status_code == 200
    assert by_part.json()["choices"][0]["message"]["content"].startswith("<image:")
    assert runtime.encoded == {Modality.IMAGE: 1}


def test_a_depth_file_takes_its_parameters(http: httpx.Client) -> None:
    import numpy as np

    file_id = upload(http, samples.npy(np.ones((8, 8), np.float32)), "d.npy").json()["id"]
    part: dict[str, object] = {"type": "file", "file": {"file_id": file_id}, "modality": "depth"}
    assert ask(http, {**part, "depth": {"unit": "disparity"}}).status_code == 200
    error = ask(http, {**part, "depth": {"unit": "m"}}).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_media", "messages[0].content[0].depth.focal_px")


def test_a_file_that_is_none_is_a_404_that_names_the_part(http: httpx.Client) -> None:
    error = ask(http, {"type": "file", "file": {"file_id": "file-0"}, "modality": "image"}).json()["error"]
    assert (error["code"], error["param"]) == ("file_not_found", "messages[0].content[0].file.file_id")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\b\\evil.png", "x" * 500, "ü\x7f.png", ""])
def test_names_are_made_plain(http: httpx.Client, name: str) -> None:
    given = upload(http, filename=name or "..").json()["filename"]
    assert 0 < len(given) <= 128
    assert "/" not in given
    assert "\\" not in given
    assert given.isascii()


def test_lists_come_in_pages(http: httpx.Client) -> None:
    ids = [upload(http, filename=f"{number}").json()["id"] for number in range(3)]
    first = http.get("/v1/files", params={"limit": 2, "order": "asc"}).json()
    rest = http.get("/v1/files", params={"limit": 2, "order": "asc", "after": first["last_id"]}).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [info["id"] for info in first["data"] + rest["data"]] == ids
    assert http.get("/v1/files", params={"limit": 0}).status_code == 400


@pytest.mark.parametrize(("order", "kept"), [("asc", [0, 2]), ("desc", [2, 0])])
def test_a_page_goes_on_where_the_last_one_ended_though_that_file_is_gone(
    http: httpx.Client, order: str, kept: list[int]
) -> None:
    ids = [upload(http, filename=f"{number}").json()["id"] for number in range(3)]
    first = http.get("/v1/files", params={"limit": 2, "order": order}).json()
    assert (first["data"][0]["id"], first["last_id"]) == (ids[kept[0]], ids[1])
    http.delete(f"/v1/files/{ids[1]}")
    rest = http.get("/v1/files", params={"limit": 2, "order": order, "after": ids[1]}).json()
    assert [info["id"] for info in rest["data"]] == [ids[kept[1]]]
    assert http.get("/v1/files", params={"after": "file-0"}).json()["error"]["param"] == "after"


@pytest.mark.parametrize("fields", [{"purpose": "A B"}, {"purpose": "x" * 33}])
def test_a_purpose_is_one_word(http: httpx.Client, fields: dict[str, str]) -> None:
    assert upload(http, **fields).json()["error"]["param"] == "purpose"


def test_a_form_without_a_file_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/files", files={"purpose": (None, b"vision")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_another_keys_file_does_not_exist(
    start_gateway: Callable[..., tuple[str, GatewayState]], worker: WorkerThread, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("ann", "bob")))
    url, _ = start_gateway(keys_file=keys)
    ann, bob = (
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {name}"}, trust_env=False)
        for name in ("ann", "bob")
    )
    with ann, bob:
        file_id = upload(ann).json()["id"]
        assert ann.get(f"/v1/files/{file_id}").status_code == 200
        assert bob.get("/v1/files").json()["data"] == []
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert bob.request(method, f"/v1/files/{file_id}{path}").status_code == 404
        assert ask(bob, {"type": "image_url", "image_url": {"url": f"file:{file_id}"}}).status_code == 404


def test_the_real_client_handles_files(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        made = client.files.create(file=("a.png", io.BytesIO(PNG)), purpose="vision")
        assert [file.id for file in client.files.list()] == [made.id]
        assert client.files.content(made.id).read() == PNG
        assert client.files.delete(made.id).deleted


# The store itself


async def test_a_quota_is_never_passed_and_expired_files_free_it(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    files = FileStore(store, Keys("t"), Quota(files=2, bytes=100, ttl_s=2))
    await files.add("a", "x", "vision", b"x" * 60, "0" * 64)
    with pytest.raises(GatewayError) as caught:
        await files.add("a", "x", "vision", b"x" * 60, "0" * 64)
    assert caught.value.code == "too_large"
    await files.add("a", "x", "vision", b"x" * 40, "0" * 64)
    with pytest.raises(GatewayError):
        await files.add("a", "x", "vision", b"", "0" * 64)
    await files.add("b", "x", "vision", b"x" * 60, "0" * 64)
    assert all(0 < valkey.client.ttl(key) <= 2 for key in valkey.client.keys("t:file:*"))
    assert all(valkey.client.ttl(key) > 0 for key in valkey.client.keys("t:files:*"))  # lives on for a batch's input
    time.sleep(2.1)
    assert await files.list("a") == []
    await files.add("a", "x", "vision", b"x" * 60, "0" * 64)
    await store.aclose()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a killed process closes no connection
@pytest.mark.parametrize("harm", HARMS)
async def test_an_upload_that_dies_at_any_command_lists_no_unreadable_file(harm: Harm, valkey: Valkey) -> None:
    """The file is there whole or not at all, and what is left of it never passes the quota."""
    data, socket, count = b"x" * PIECE * 2 + b"end", valkey.url.removeprefix("unix://"), 0
    store = connect_async(valkey.settings)
    quota = Quota(files=100, bytes=100 * len(data), ttl_s=600)
    far = FileStore(store, Keys("t"), quota)
    for at in range(1, 40):
        async with store_proxy(socket, at, harm) as (proxy, url):
            near = connect_async(valkey.settings.model_copy(update={"url": url, "command_timeout_s": 0.2}))
            upload = asyncio.create_task(FileStore(near, Keys("t"), quota).add("a", "x", "vision", data, "0" * 64))
            died = asyncio.create_task(proxy.died.wait())
            await asyncio.wait({upload, died}, return_when=asyncio.FIRST_COMPLETED)
            for task in (upload, died):
                task.cancel()
            await asyncio.gather(upload, died, return_exceptions=True)
            await near.aclose()
            for info in await far.list("a"):
                assert (await far.open("a", info.id)).data == data
            if proxy.count < at:
                break
            count = at
    assert 5 <= count < 39
    await store.aclose()


@pytest.mark.parametrize("harm", ["cut", "answer lost", "stopped"])
async def test_an_upload_that_fails_at_any_command_leaves_its_place_to_the_next_try(harm: Harm, valkey: Valkey) -> None:
    """There is place for one file. The caller gets a 503 and sends it again."""
    data, socket, count = b"x" * PIECE + b"end", valkey.url.removeprefix("unix://"), 0
    store, quota = connect_async(valkey.settings), Quota(files=1, bytes=PIECE + 3, ttl_s=600)
    far = FileStore(store, Keys("t"), quota)
    for at in range(1, 40):
        async with store_proxy(socket, at, harm, UNTIL_IT_LEAVES) as (proxy, url):
            connection = connect_async(valkey.settings.model_copy(update={"url": url, "command_timeout_s": 0.2}))
            near, tenant = FileStore(connection, Keys("t"), quota), f"ann-{at}"
            with suppress(StoreUnavailable):
                await near.add(tenant, "x", "vision", data, "0" * 64)
            count = at if proxy.harmed else count
            async with asyncio.timeout(30):
                while proxy.harmed:
                    with suppress(GatewayError):
                        await far.add(tenant, "x", "vision", data, "0" * 64)
                        break
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)  # in which a command may come late
            (info,) = await far.list(tenant)
            assert (await far.open(tenant, info.id)).data == data
            assert not proxy.harmed or await far._counted(tenant) == [info]
            await near.close()
            await connection.aclose()
            if not proxy.harmed:
                break
    assert 5 <= count < 39
    await store.aclose()


async def test_an_upload_whose_caller_leaves_counts_no_longer(valkey: Valkey) -> None:
    socket, store = valkey.url.removeprefix("unix://"), connect_async(valkey.settings)
    quota = Quota(files=1, bytes=100, ttl_s=600)
    async with store_proxy(socket, 3, "stopped", UNTIL_IT_LEAVES) as (proxy, url):
        connection = connect_async(valkey.settings.model_copy(update={"url": url}))
        near, far = FileStore(connection, Keys("t"), quota), FileStore(store, Keys("t"), quota)
        uploading = asyncio.create_task(near.add("ann", "x", "vision", b"x", "0" * 64))
        async with asyncio.timeout(30):
            while not proxy.harmed:
                await asyncio.sleep(0.01)
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
            while not await far.list("ann"):
                with suppress(GatewayError):
                    await far.add("ann", "x", "vision", b"y", "0" * 64)
                await asyncio.sleep(0.02)
        await near.close()
        await connection.aclose()
    await store.aclose()


async def test_an_upload_under_way_counts_and_is_no_file(valkey: Valkey) -> None:
    store = connect_async(valkey.settings)
    files = FileStore(store, Keys("t"), Quota(files=1, bytes=100, ttl_s=600))
    made = await files.add("a", "x", "vision", b"x", "0" * 64)
    entry = msgspec.msgpack.encode(msgspec.structs.replace(made, whole=False))
    await store.execute_command("HSET", Keys("t").files("a"), made.id, entry)
    assert await files.list("a") == []
    with pytest.raises(GatewayError) as caught:
        await files.open("a", made.id)
    assert caught.value.code == "file_not_found"
    with pytest.raises(GatewayError) as caught:
        await files.add("a", "x", "vision", b"x", "0" * 64)
    assert caught.value.code == "too_large"
    await store.aclose()
