"""Nothing holds the event loop for a tenth of a second: no burst of events, no long answer, no list, no page.

Measured is the processor time of the longest single callback (`tests/security/beside.py`), so that load is no matter.
Bodies and forms stand in `tests/security/test_json_floods.py` and `test_multipart_floods.py`.
"""

import asyncio
import json
import time
from collections.abc import Iterator

import msgspec
import pytest

from service.broker.gateway.batches import StoredBatch
from service.broker.keys import Keys
from service.broker.protocol import Done, Logprob, Token, encode
from service.gateway.media.files import FileInfo
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, WorkerThread, worker_thread
from tests.gateway.running import running
from tests.security.beside import HELD_S, watched

KEYS = Keys()
MANY = 10_000  # entries of a list: more than the limits allow by default
LIKELIEST = [(rank, b" word", -1.0 - rank) for rank in range(20)]
WORD = Token(choice=0, token_id=7, text=" word")
SCORED = msgspec.structs.replace(WORD, logprob=Logprob(token_id=7, piece=b" word", logprob=-1.0, top=LIKELIEST))
LOGPROBS = {"logprobs": True, "top_logprobs": 20}


@pytest.fixture
def held(valkey: Valkey) -> Iterator[WorkerThread]:
    """A worker that begins each request and makes no token of it: a test writes the rest."""
    with worker_thread(valkey.settings, FakeRuntime(hold_after=0), max_sequences=256) as worker:
        yield worker


async def ask(port: int, path: str, sent: bytes = b"", kind: bytes = b"application/json") -> bytes:
    """The answer's bytes, with its head, to a GET or to this body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{'POST' if sent else 'GET'} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()
    head += b"content-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(sent))
    writer.write(head + sent)
    answer = await reader.read()
    writer.transport.abort()
    return answer


async def beside(port: int, path: str, sent: bytes = b"", times: int = 1) -> list[bytes]:
    """The answers to so many callers, in a loop of their own."""

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(ask(port, path, sent) for _ in range(times)))

    return await asyncio.to_thread(asyncio.run, all_of_them())


async def begun(valkey: Valkey, count: int) -> list[bytes]:
    """The keys of so many requests' events, once all of them are begun."""
    while True:
        keys: list[bytes] = valkey.client.keys("pandagpt:events:*")
        if len(keys) == count and all(valkey.client.xlen(key) == 2 for key in keys):
            return keys
        await asyncio.sleep(0.05)


def written(valkey: Valkey, keys: list[bytes], entries: int, token: Token, each: int) -> None:
    """All at once the answers of these requests: entries of `each` tokens, and the end."""
    pipe, packed = valkey.client.pipeline(transaction=True), encode([token] * each)
    end = encode([msgspec.structs.replace(token, finish="length"), Done(completion_tokens=entries * each + 1)])
    for key in keys:
        for number in range(entries):
            pipe.xadd(key, {"events": packed}, id=f"1-{2 + number}")
        pipe.xadd(key, {"events": end}, id=f"1-{2 + entries}")
    pipe.execute()


@pytest.mark.parametrize(
    ("streams", "entries", "token", "each", "options"),
    [
        (100, 200, SCORED, 2, {"stream": True}),
        (2, 2000, SCORED, 4, {"stream": True, **LOGPROBS}),
        (1, 2000, SCORED, 4, LOGPROBS),
    ],
    ids=["a burst in many streams", "long streams of many numbers", "a whole answer of many numbers"],
)
async def test_no_answer_holds_the_loop_nor_a_later_look_at_it(
    valkey: Valkey, held: WorkerThread, streams: int, entries: int, token: Token, each: int, options: dict[str, object]
) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 8192, **options}
    async with running(valkey, header_timeout_s=10.0, send_buffer_bytes=1 << 26) as (_, port):
        reading = asyncio.create_task(beside(port, "/v1/chat/completions", json.dumps(body).encode(), streams))
        keys = await begun(valkey, streams)
        async with watched() as watch:
            await asyncio.to_thread(written, valkey, keys, entries, token, each)
            answers = await reading
        words = entries * each + 1
        assert all(answer.count(b" word") >= words for answer in answers)
        assert watch.stall < HELD_S, watch.staller
        path = f"/v1/requests/{keys[0].decode().partition('{')[2][:-1]}"
        async with watched() as watch:
            (state,), (again,) = await beside(port, path), await beside(port, f"{path}/events")
        assert json.loads(state.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] == words
        assert again.count(b" word") >= words
        assert watch.stall < HELD_S, watch.staller


def listed(valkey: Valkey, tenant: str) -> None:
    """Files and batches of that tenant, as large as they may be."""
    now, pipe = int(time.time()), valkey.client.pipeline(transaction=False)
    metadata = {f"{number:064}": "v" * 512 for number in range(16)}
    for number in range(MANY):
        file = FileInfo(
            id=f"file-{number:032x}",
            filename="x" * 128,
            purpose="batch",
            bytes=1,
            created=now,
            expires=now + 86_400,
            sha256="0" * 64,
        )
        batch = StoredBatch(
            id=f"batch_{number:032x}",
            tenant=tenant,
            name="ann",
            share="ann",
            cache_group="",
            endpoint="/v1/completions",
            input_file=file.id,
            output_file=file.id,
            error_file=file.id,
            window="1d",
            created=now,
            expires=now + 86_400,
            metadata=metadata,
        )
        pipe.hset(KEYS.files(tenant), file.id, msgspec.msgpack.encode(file))
        if number >= MANY - PAGE:
            fields = {"batch": msgspec.msgpack.encode(batch), "status": "completed"}
            pipe.hset(KEYS.batch(batch.id), mapping=fields)
        pipe.zadd(KEYS.batches_of(tenant), {batch.id: number})
    pipe.execute()


PAGE = 100  # batches, the most of one page
FORM = b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n--b--\r\n'
LISTS = {f"/v1/batches?limit={PAGE}": PAGE, "/v1/files?limit=10000": MANY, "/v1/models": 1}
PAGES = ("/health/ready", "/health/live", "/metrics", "/openapi.json", "/docs", "/version", "/v1/models/fake", "/")


async def test_no_list_and_no_page_holds_the_loop(valkey: Valkey) -> None:
    with worker_thread(valkey.settings):
        async with running(valkey, header_timeout_s=10.0) as (_, port):
            assert b" 200 " in (await ask(port, "/v1/files", FORM, b"multipart/form-data; boundary=b"))[:20]
            (key,) = valkey.client.keys("pandagpt:files:*")
            listed(valkey, key.decode().partition("{")[2][:-1])
            for path in (*LISTS, *PAGES):
                async with watched() as watch:
                    (answer,) = await beside(port, path)
                head, _, content = answer.partition(b"\r\n\r\n")
                assert b" 200 " in head[:20], path
                assert path not in LISTS or len(json.loads(content)["data"]) == LISTS[path]
                assert watch.stall < HELD_S, (path, watch.staller)
