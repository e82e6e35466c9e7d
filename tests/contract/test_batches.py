"""/v1/batches by the `openai` package: run once, in order, whatever ends; cancelled, expired, refused."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
import redis
from openai import OpenAI
from openai.types import Batch

from service.gateway.inference.batches.lines import checked
from service.settings import StoreSettings
from tests.contract import made
from tests.contract.conftest import SeeingRuntime, Strict, running, settings_for
from tests.fakes import worker_thread

CHAT = "/v1/chat/completions"


def chat(number: int, **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 3, "seed": 1, **fields}
    return {"custom_id": f"id-{number}", "method": "POST", "url": CHAT, "body": body}


def start(client: OpenAI, lines: list[Any], endpoint: Any = CHAT, **fields: Any) -> Batch:
    data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("batch.jsonl", data), purpose="batch")
    fields = {"completion_window": "24h", **fields}
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, **fields)


def ended(client: OpenAI, batch: Batch, seconds: float = 90) -> Batch:
    until = time.monotonic() + seconds
    while (now := client.batches.retrieve(batch.id)).status in (
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
    ):
        assert time.monotonic() < until, now
        time.sleep(0.1)
    return now


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


def told(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_a_batch_runs_every_line_once_into_files_in_order(client: OpenAI, runtime: SeeingRuntime) -> None:
    lines = [chat(number, **({"temperature": "hot"} if number == 5 else {})) for number in range(40)]
    batch = start(client, lines, metadata={"a": "b"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"a": "b"})
    done = ended(client, batch)
    assert (done.status, done.request_counts and done.request_counts.model_dump()) == (
        "completed",
        {"total": 40, "completed": 39, "failed": 1},
    )
    output, errors = told(client, done.output_file_id), told(client, done.error_file_id)
    assert [one["custom_id"] for one in output] == [f"id-{number}" for number in range(40) if number != 5]
    assert [one["custom_id"] for one in errors] == ["id-5"]
    assert errors[0]["response"]["status_code"] == 400
    assert errors[0]["response"]["body"]["error"]["param"] == "temperature"
    asked = [conversation.turns[-1].text for conversation, _ in runtime.seen]
    assert sorted(asked) == sorted(f"Question {number}" for number in range(40) if number != 5)
    direct = client.chat.completions.create(model="fake", **lines[0]["body"])
    assert output[0]["response"]["body"]["choices"][0]["message"]["content"] == direct.choices[0].message.content
    assert done.completed_at is not None
    assert client.files.retrieve(done.output_file_id or "").purpose == "batch_output"


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/completions", {"prompt": "Pandas", "max_tokens": 2}, "text_completion"),
        ("/v1/embeddings", {"input": ["a dog", {"type": "image_url", "image_url": {"url": ""}}]}, "list"),
        ("/v1/responses", {"input": "Hi"}, "response"),
    ],
)
def test_a_batch_of_every_endpoint_gives_its_answers(
    client: OpenAI, endpoint: str, body: dict[str, Any], kind: str
) -> None:
    if "input" in body and isinstance(body["input"], list):
        body["input"][1]["image_url"]["url"] = made.data_url(made.PNG)
    done = ended(client, start(client, [{"custom_id": "x", "method": "POST", "url": endpoint, "body": body}], endpoint))
    (line,) = told(client, done.output_file_id)
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["object"] == kind


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_batch_s_vectors_are_those_of_a_direct_request(client: OpenAI, http: httpx.Client, encoding: str) -> None:
    body = {"model": "fake", "input": ["a dog", "a cat"], "encoding_format": encoding}
    entry = {"custom_id": "x", "method": "POST", "url": "/v1/embeddings", "body": body}
    done = ended(client, start(client, [entry], "/v1/embeddings"))
    (line,) = told(client, done.output_file_id)
    assert line["response"]["body"] == http.post("/v1/embeddings", json=body).json()


def test_a_batch_keeps_its_input_file_until_after_its_window(client: OpenAI, http: httpx.Client) -> None:
    data = json.dumps(chat(0)).encode()
    fields = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = http.post("/v1/files", files={"file": ("a.jsonl", data)}, data=fields).json()
    batch = client.batches.create(input_file_id=file["id"], endpoint=CHAT, completion_window="24h")
    assert http.get(f"/v1/files/{file['id']}").json()["expires_at"] > (batch.expires_at or 0)
    assert ended(client, batch).status == "completed"


def test_the_input_of_a_running_batch_cannot_be_deleted(client: OpenAI, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.2
    batch = start(client, [chat(number) for number in range(200)])
    with pytest.raises(openai.ConflictError, match=f"{batch.id} reads the file") as caught:
        client.files.delete(batch.input_file_id)
    assert caught.value.code == "file_in_use"
    client.batches.cancel(batch.id)
    assert ended(client, batch).status == "cancelled"
    runtime.step_delay = 0.0
    assert client.files.delete(batch.input_file_id).deleted


def test_a_file_that_is_no_batch_is_refused_with_its_lines(client: OpenAI) -> None:
    lines = [chat(0), "nonsense", {**chat(1), "url": "/v1/embeddings"}, chat(0)]
    done = ended(client, start(client, lines))
    assert done.status == "failed"
    assert done.errors is not None
    assert [(error.line, error.param) for error in done.errors.data or []] == [
        (2, None),
        (3, "url"),
        (4, "custom_id"),
    ]
    picture = client.files.create(file=("a.png", made.PNG), purpose="vision")
    with pytest.raises(openai.BadRequestError, match="must be batch"):
        client.batches.create(input_file_id=picture.id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.NotFoundError) as missing:
        client.batches.create(input_file_id="file-" + "0" * 32, endpoint=CHAT, completion_window="24h")
    assert missing.value.param == "input_file_id"


def test_a_cancelled_batch_keeps_what_it_has(client: OpenAI, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.2
    batch = start(client, [chat(number) for number in range(200)])
    until = time.monotonic() + 60
    while client.batches.retrieve(batch.id).status == "validating":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = ended(client, batch)
    runtime.step_delay = 0.0
    assert done.status == "cancelled"
    assert done.request_counts is not None
    assert done.request_counts.completed < 200
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_an_expired_batch_says_so_for_each_line(client: OpenAI, runtime: SeeingRuntime) -> None:
    runtime.step_delay = 0.3
    done = ended(client, start(client, [chat(number) for number in range(100)], completion_window="2s"))
    runtime.step_delay = 0.0
    assert done.status == "expired"
    missing = [line for line in told(client, done.error_file_id) if line["response"] is None]
    assert {line["error"]["code"] for line in missing} == {"batch_expired"}
    assert done.request_counts is not None
    assert len(missing) + done.request_counts.completed == 100


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_the_lines_of_a_batch_that_stops_end_at_the_worker(client: OpenAI, runtime: SeeingRuntime, how: str) -> None:
    runtime.step_delay = 0.1
    endless = [chat(number, max_tokens=1900, ignore_eos=True) for number in range(3)]
    window = "5s" if how == "expired" else "24h"
    batch = start(client, endless, completion_window=window)
    # A line of the batch before may come late: its notice is read with the next step.
    until(lambda: sum(params.max_tokens == 1900 for _, params in runtime.seen) == 3, "the lines run")
    if how == "cancelled":
        client.batches.cancel(batch.id)
    assert ended(client, batch).status == how
    until(lambda: not runtime.has_work, "nothing runs any more")  # to their ends the lines take minutes
    assert len(runtime.aborted) >= 3
    runtime.step_delay = 0.0
    runtime.aborted.clear()


def test_batches_are_listed_in_pages_and_are_the_keys_own(strict: Strict) -> None:
    with (
        OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=5) as ann,
        OpenAI(base_url=f"{strict.url}/v1", api_key=strict.key(), max_retries=0) as bob,
    ):
        batch = start(ann, [chat(0)])
        assert [one.id for one in ann.batches.list(limit=1)] == [batch.id]
        assert list(bob.batches.list()) == []
        for call in (bob.batches.retrieve, bob.batches.cancel):
            with pytest.raises(openai.NotFoundError) as missing:
                call(batch.id)
            assert missing.value.code == "batch_not_found"


def test_a_batch_goes_on_at_another_gateway_and_answers_each_line_once(
    store: StoreSettings, runtime: SeeingRuntime
) -> None:
    own = store.model_copy(update={"namespace": "takeover"})
    seeing = SeeingRuntime(step_delay=0.02)
    with worker_thread(own, seeing, lost_after_s=15.0):
        with running(settings_for(own)) as (url, _), OpenAI(base_url=f"{url}/v1", api_key="none") as first:
            batch = start(first, [chat(number) for number in range(120)])
            until = time.monotonic() + 60
            while (first.batches.retrieve(batch.id).request_counts or batch).completed < 10:  # type: ignore[union-attr]
                assert time.monotonic() < until
                time.sleep(0.02)
        # The gateway is gone, in the middle of some lines; its lease may be another's.
        with running(settings_for(own)) as (url, _), OpenAI(base_url=f"{url}/v1", api_key="none") as second:
            done = ended(second, batch)
            output = told(second, done.output_file_id)
    assert done.status == "completed"
    assert [line["custom_id"] for line in output] == [f"id-{number}" for number in range(120)]
    asked = [conversation.turns[-1].text for conversation, _ in seeing.seen]
    assert set(asked) == {f"Question {number}" for number in range(120)}
    assert len(asked) < 120 + 16  # a line that was cancelled on its way in is sent in again
    with redis.Redis.from_url(str(own.url)) as raw:
        assert all(raw.ttl(key) > 0 for key in raw.scan_iter("takeover:batch*"))


async def test_many_lines_are_read_a_piece_at_a_time() -> None:
    def lines() -> Iterator[bytes]:
        for number in range(10_000):
            yield json.dumps(chat(number)).encode() + b"\n"

    waiting = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal waiting
        piece = b""
        for line in lines():
            piece += line
            if len(piece) > 100_000:  # cut anywhere
                waiting += 1
                yield piece[:99_999]
                piece = piece[99_999:]
        yield piece

    assert await checked(pieces(), CHAT) == (10_000, [])
    assert waiting > 10


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
async def test_a_file_as_editors_of_windows_write_it_is_read(end: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield "\ufeff".encode()[:2]  # cut anywhere
        yield ("\ufeff" + "\r\n".join(json.dumps(chat(number)) for number in range(2)) + end).encode()[2:]

    assert await checked(pieces(), CHAT) == (2, [])
