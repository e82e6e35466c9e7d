"""Threat: one tenant finds in a cache what another left there.

Measures: each cache of the page's list is filled as Alice and used as Bob, who gets what he would of an empty one, by
the work that is done for him and by all that his answer holds. Alice gets what she left.
"""

import io
import re
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.vllm.calls import VllmStats, engine_arguments
from pandagpt_core.engine.vllm.engine import VllmEngine
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.types import SamplingParams
from service.broker.connection import connect
from service.broker.keys import Keys
from service.broker.media_cache import EmbeddingCache, media_name
from tests import golden as vectors
from tests.conftest import Valkey
from tests.engine.conftest import (
    CONFIG,
    ByteTokenizer,
    counting,
    llama,
    make_engine,
    prompt,
    tokenizer,
    write_tokenizer,
)
from tests.engine.fake_vllm import FakeAsyncLLM, fake_calls
from tests.engine_worker import EngineRuntime
from tests.gateway.pointing import Pointing
from tests.gateway.pointing import picture as place_picture
from tests.security.neighbours import picture, with_picture
from tests.security.two_keys import Case, TwoKeys, Use, Uses, counted_model

__all__ = ["counting", "llama", "make_engine", "prompt", "tokenizer"]
ONE_TOKEN = SamplingParams(max_tokens=1, temperature=0.0)
CHAT = "/v1/chat/completions"
NOTHING: Mapping[str, float] = {}


def error(answer: httpx.Response) -> object:
    """Status of an answer, and the words of a refusal."""
    return answer.status_code, answer.json() if answer.is_error else ""


def details(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["usage"]["prompt_tokens_details"]
    return found


def sound(seconds: float, loudness: float = 8000) -> bytes:
    tone, file = loudness * np.sin(np.arange(round(seconds * 8000)) / 3), io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(tone.astype("<i2").tobytes())
    return file.getvalue()


# Uses that are sent again: the same bytes or words, under no name.


def same(use: Callable[[httpx.Client, Any], object], name: Any) -> Callable[[TwoKeys, httpx.Client], Any]:
    """A fill that sends what is used later."""

    def fill(_: TwoKeys, alice: httpx.Client) -> Any:
        use(alice, name)
        return name

    return fill


def send_picture_anyhow(client: httpx.Client, number: int) -> object:
    return client.post(CHAT, json=with_picture(picture(number))).status_code


def send_picture(client: httpx.Client, number: int) -> object:
    return details(client.post(CHAT, json=with_picture(picture(number))))


def send_sound(client: httpx.Client, data: bytes) -> object:
    form = {"prompt": "What is it?", "max_tokens": "2", "seed": "1"}
    answer = client.post("/v1/generate", data=form, files={"audio": ("a.wav", data)})
    return details(answer), answer.json().get("warnings")


def embed_text(client: httpx.Client, words: str) -> object:
    return client.post("/v1/embeddings", json={"input": words}).status_code


def send_words(client: httpx.Client, words: str) -> object:
    body = {"messages": [{"role": "user", "content": words}], "max_tokens": 1, "temperature": 0}
    return details(client.post(CHAT, json=body))


def tiny_pandagpt(request: pytest.FixtureRequest) -> Runtime:
    golden: Path = request.getfixturevalue("golden")
    tiny, folder = golden / "pandagpt-tiny", request.getfixturevalue("tmp_path") / "tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, folder, PandaGPTOptions(model_id="tiny", sizes=vectors.imagebind_sizes(golden)))
    return load_model(folder, RuntimeOptions(dtype="float32", runner="torch"))


# Uses with a name.


def name_picture(_: TwoKeys, alice: httpx.Client) -> str:
    body = with_picture(picture(1))
    body["messages"][0]["content"][1]["uuid"] = "cover"  # type: ignore[index]  # JSON bears no types
    details(alice.post(CHAT, json=body))
    return "cover"


def recall_picture(client: httpx.Client, uuid: str) -> object:
    part = {"type": "image_url", "image_url": None, "uuid": uuid}
    return error(client.post(CHAT, json={"messages": [{"role": "user", "content": [part]}], "max_tokens": 2}))


def send_request(_: TwoKeys, alice: httpx.Client) -> str:
    found: str = alice.post(CHAT, json=with_picture(picture(1))).json()["id"]
    return found


def annotate(_: TwoKeys, alice: httpx.Client) -> str:
    form, files = {"prompt": "the dog", "annotate": "true"}, {"image": ("a.png", place_picture())}
    found: str = alice.post("/v1/generate", data=form, files=files).json()["id"]
    return found


def upload(_: TwoKeys, alice: httpx.Client) -> str:
    found: str = alice.post("/v1/files", files={"file": ("a.png", picture(1))}).json()["id"]
    return found


def respond(_: TwoKeys, alice: httpx.Client) -> str:
    found: str = alice.post("/v1/responses", json={"input": "Hello.", "max_output_tokens": 2}).json()["id"]
    return found


def go_on(client: httpx.Client, name: str) -> object:
    return error(client.post("/v1/responses", json={"input": "And?", "previous_response_id": name}))


def run_batch(_: TwoKeys, alice: httpx.Client) -> dict[str, Any]:
    """A batch that has ended."""
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"input": "a dog"}}\n'
    file = alice.post("/v1/files", files={"file": ("a.jsonl", line)}, data={"purpose": "batch"}).json()["id"]
    wanted = {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    batch: dict[str, Any] = alice.post("/v1/batches", json=wanted).json()
    while batch["status"] not in ("completed", "failed", "expired"):
        time.sleep(0.02)  # between looks; the gateway's runner ends it
        batch = alice.get(f"/v1/batches/{batch['id']}").json()
    assert batch["status"] == "completed"
    return batch


def batch_id(keys: TwoKeys, alice: httpx.Client) -> str:
    found: str = run_batch(keys, alice)["id"]
    return found


def results_id(keys: TwoKeys, alice: httpx.Client) -> str:
    found: str = run_batch(keys, alice)["output_file_id"]
    return found


def at(path: str) -> Callable[[httpx.Client, str], object]:
    return lambda client, name: error(client.get(path.format(name)))


def listed(path: str) -> Callable[[httpx.Client, str], object]:
    return lambda client, _: client.get(path).json()


def send_once(client: httpx.Client, key: str) -> object:
    body = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 2}
    answer = client.post(CHAT, json=body, headers={"idempotency-key": key})
    return answer.status_code, answer.headers.get("idempotent-replayed")


def hold_one(keys: TwoKeys, alice: httpx.Client) -> str:
    """A stream that does not end before the row does."""
    keys.model.hold_after = 1
    keys.held.callback(setattr, keys.model, "hold_after", None)
    body = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 2, "stream": True}
    answer = keys.held.enter_context(alice.stream("POST", CHAT, json=body))
    lines = answer.iter_lines()  # kept: an iterator that is thrown away closes the stream
    keys.held.callback(lines.close)  # type: ignore[attr-defined]  # a generator, of which httpx says Iterator
    next(lines)
    return "x"


# The engines alone.


def other_engine(request: pytest.FixtureRequest) -> Uses:
    """vLLM finds blocks by a hash over the salt and the ids from the first on; its stand-in here does the same."""
    model, found = request.getfixturevalue("llama"), list[int]()
    made = request.getfixturevalue("prompt")

    class Remembering(FakeAsyncLLM):
        blocks: set[tuple[Any, ...]] = set()  # noqa: RUF012  made anew with the class

        async def generate(self, prompt: dict[str, Any], *given: Any, **named: Any) -> Any:  # type: ignore[override]  # of vLLM's parameters, the prompt alone matters
            ids, salt = prompt["prompt_token_ids"], prompt.get("cache_salt")
            keys = {(salt, *ids[:end]) for end in range(4, len(ids), 4)}
            found.append(len(keys & self.blocks))
            self.blocks |= keys
            async for one in super().generate(prompt, *given, **named):
                yield one

    folder = write_tokenizer(request.getfixturevalue("tmp_path"))
    arguments = engine_arguments({"max_model_len": 64, "max_num_seqs": 2, "tokenizer": str(folder)}, {})

    def start(given: Mapping[str, Any], seen: VllmStats) -> FakeAsyncLLM:
        return Remembering(model, given, seen)

    engine = VllmEngine(arguments, replace(fake_calls(model), start=start), ByteTokenizer(), CONFIG)
    try:
        for tenant, words in (
            ("carol", "2 never sent"),
            ("alice", "1 is a word"),
            ("bob", "1 is a word"),
            ("alice", "1 is a word"),
        ):
            engine.add(EngineRequest(tenant, made(words), ONE_TOKEN, tenant=tenant))
            while engine.has_work:
                engine.step()
    finally:
        engine.close()
    fresh, _, bobs, alices = (Use(blocks, NOTHING) for blocks in found)
    return Uses(fresh, bobs, alices)


def read_beside(request: pytest.FixtureRequest) -> Uses:
    """Positions that the first step computes while Alice's prompt is being read: a request of hers waits for it."""
    made, used = request.getfixturevalue("prompt"), list[Use]()
    for tenant, words in (("bob", "y" * 80), ("bob", "x" * 80), ("alice", "x" * 80)):
        engine, runner = request.getfixturevalue("counting")(prefill_chunk=160)
        engine.add(EngineRequest("first", made("x" * 80), ONE_TOKEN, tenant="alice"))
        engine.add(EngineRequest("second", made(words), ONE_TOKEN, tenant=tenant))
        engine.step()
        used.append(Use(None, {"tokens prefilled": runner.positions}))
    return Uses(*used)


WORDS = "{} is what the letter begins with, and nobody else has read it."
CASES: Mapping[str, Sequence[Case | Callable[[pytest.FixtureRequest], Uses]]] = {
    "array": [
        Case(
            "picture",
            same(send_picture_anyhow, 1),
            send_picture_anyhow,
            never=2,
            model=lambda _: counted_model(refuses=True),
        )
    ],
    "embedding": [
        Case("picture", same(send_picture, 1), send_picture, never=2),
        Case("speech", same(send_sound, sound(3)), send_sound, never=sound(3.5)),
        Case("text", same(embed_text, "a dog"), embed_text, never="a cat"),
    ],
    "media_notes": [Case("silence", same(send_sound, sound(2, 0)), send_sound, never=sound(2.5, 0))],
    "prefixes of the engine": [
        Case(
            "tiny engine",
            same(send_words, WORDS.format(1)),
            send_words,
            never=WORDS.format(2),
            model=lambda _: EngineRuntime(),
        ),
        Case(
            "tiny PandaGPT",
            same(send_words, WORDS.format(1)),
            send_words,
            never=WORDS.format(2),
            warm=WORDS.format(3),
            model=tiny_pandagpt,
        ),
    ],
    "prefixes of vLLM": [other_engine],
    "prompts that are being read": [read_beside],
    "media_uuid": [Case("name", name_picture, recall_picture, never="never")],
    "record": [Case("state", send_request, at("/v1/requests/{}"), never="chatcmpl-" + "0" * 32)],
    "events": [Case("stream", send_request, at("/v1/requests/{}/events"), never="chatcmpl-" + "0" * 32)],
    "files": [Case("list", upload, listed("/v1/files"))],
    "file": [Case("metadata", upload, at("/v1/files/{}"), never="file-" + "0" * 32)],
    "retry": [Case("key", same(send_once, "order-66"), send_once, never="order-67")],
    "rate": [Case("requests", same(embed_text, "a"), embed_text, never="a", gateway={"rate_requests": 1})],
    "running": [Case("at once", hold_one, embed_text, never="x", gateway={"max_concurrent": 1})],
    "picture": [
        Case(
            "annotated",
            annotate,
            at("/v1/requests/{}/annotated"),
            never="gen-" + "0" * 32,
            model=lambda _: Pointing(),
        )
    ],
    "response": [Case("gone on with", respond, go_on, never="resp_" + "0" * 32)],
    "batch": [Case("state", batch_id, at("/v1/batches/{}"), never="batch_" + "0" * 32)],
    "batch_results": [Case("answers", results_id, at("/v1/files/{}/content"), never="file-" + "0" * 32)],
    "batches_of": [Case("list", batch_id, listed("/v1/batches"))],
}
ROWS = [
    pytest.param(case, id=f"{cache}: {case.title if isinstance(case, Case) else case.__name__}")
    for cache, cases in CASES.items()
    for case in cases
]


@pytest.mark.parametrize("case", ROWS)
def test_to_another_key_a_cache_is_as_new(
    case: Callable[[pytest.FixtureRequest], Uses], request: pytest.FixtureRequest
) -> None:
    uses = case(request)
    assert uses.bobs == uses.fresh
    assert uses.alices != uses.fresh, "else the row shows nothing"


def test_every_cache_of_the_pages_list_has_a_row(root: Path) -> None:
    page = (root / "docs/security.md").read_text(encoding="utf-8")
    apart = page.split("### Apart by tenant")[1].split("\n##")[0]
    heads = re.findall(r"^- (.*?):", apart, re.M)
    assert {name.strip("`") for head in heads for name in head.split(", ")} == set(CASES)


# Keys share room on purpose. It shows the amount of others' work, and nothing else.


@pytest.mark.parametrize("room", [16, 24, 40])
def test_an_evicted_prefix_shows_how_much_others_sent_and_not_what(
    room: int, make_engine: Callable[..., Engine], prompt: Callable[[str], LLMInputs]
) -> None:
    mine = "the code of the door is 4711, keep it"
    left = set()
    for others in (mine, mine[::-1], "x" * len(mine)):
        engine = make_engine(prefix_blocks=room, block_size=4)
        for number, (tenant, words) in enumerate([("bob", mine), ("alice", others), ("carol", others), ("bob", mine)]):
            admitted = engine.add(EngineRequest(str(number), prompt(words), ONE_TOKEN, tenant=tenant))
            while engine.has_work:
                engine.step()
        left.add(admitted.cached_tokens)
    assert len(left) == 1
    assert left <= ({36} if room == 40 else set(range(36)))


def test_a_dropped_large_embedding_shows_how_much_others_sent_and_not_what(valkey: Valkey) -> None:
    """Alice's are of the same media as Bob's, or of others."""
    rows, keys = np.zeros((256, 64), np.float32), Keys()
    settings = valkey.settings.model_copy(update={"embedding_cache_bytes": 3 * rows.nbytes})
    left = []
    for others in (("0", "1", "2"), ("7", "8", "9")):
        valkey.client.flushall()
        cache = EmbeddingCache(connect(settings), keys, settings)
        bobs = [media_name("bob", "encoder", name) for name in ("0", "1")]
        for name in [*bobs, *(media_name("alice", "encoder", name) for name in others[:2])]:
            cache.add({name: rows})
        left.append([valkey.client.ttl(keys.embedding(name)) > 60 for name in bobs])
    assert left[0] == left[1] == [False, True]
