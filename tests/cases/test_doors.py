"""Files that people have (`shared/cases/media`) by both doors, multipart and JSON: what a worker gets is the same.

The gateway is the real one with its confined child; the worker answers by the arrays that it got.
"""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.cases.files import CASES, NAMED, RECIPES, held
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, expected_text, fake_embedding, worker_thread
from tests.gateway.conftest import make_settings, serving

ASKED = {"prompt": "What is this?", "seed": 7, "max_tokens": 4}
SAMPLED = SamplingParams(max_tokens=4, temperature=1.0, seed=7)
OWN = {Modality(field): recipe for field, recipe in RECIPES.items()}
each = pytest.mark.parametrize("case", CASES, ids=NAMED)


@pytest.fixture(scope="module")
def http(_valkey_server: Valkey) -> Iterator[httpx.Client]:
    """One gateway for all cases, before a worker whose recipes are our own."""
    with (
        serving(make_settings(_valkey_server)) as (url, _),
        worker_thread(_valkey_server.settings, FakeRuntime(info=replace(FAKE_INFO, recipes=OWN)), lost_after_s=60.0),
        httpx.Client(base_url=url, timeout=120, trust_env=False) as client,
    ):
        yield client


def by_form(http: httpx.Client, case: dict[str, Any], **more: Any) -> httpx.Response:
    fields = {f"{case['field']}_{name}": str(value) for name, value in case["options"].items()}
    files = {case["field"]: (case["file"], held(case).data)}
    return http.post("/v1/generate", data={**{k: str(v) for k, v in ASKED.items()}, **fields, **more}, files=files)


def by_json(http: httpx.Client, case: dict[str, Any], **more: Any) -> httpx.Response:
    field = case["field"]
    payload: dict[str, Any] = {
        "url": f"data:application/octet-stream;base64,{base64.b64encode(held(case).data).decode()}"
    }
    if case["options"] or more:
        payload[field] = {**case["options"], **more}
    content = [{"type": f"{field}_url", f"{field}_url": payload}, {"type": "text", "text": ASKED["prompt"]}]
    body = {"messages": [{"role": "user", "content": content}], "seed": 7, "max_tokens": 4}
    return http.post("/v1/chat/completions", json=body)


def wanted(case: dict[str, Any]) -> tuple[str, list[str]]:
    """The right answer of a worker, and the warnings."""
    array, notes = read(RECIPES[case["field"]], held(case).data, case["options"], Limits())
    weight, sentence = (0.0, f"{notes.empty}\n") if notes.empty else (1.0, "")
    use = MediaUse(Modality(case["field"]), "", 0, weight)
    told = Conversation((Turn("user", f"{sentence}{ASKED['prompt']}"),), (use,))
    return expected_text(told, SAMPLED, [fake_embedding(Modality(case["field"]), array)]), notes.warnings


def without_place(text: str) -> str:
    return text.partition(": ")[2]


def refused(case: dict[str, Any]) -> str:
    """The library's words where it refuses the case."""
    try:
        load(RECIPES[case["field"]], held(case).data, case["options"], Limits())
    except InvalidMedia as error:
        return error.message
    return ""


@each
def test_a_case_reaches_the_worker_alike_by_both_doors(http: httpx.Client, case: dict[str, Any]) -> None:
    doors = (by_form(http, case), case["field"]), (by_json(http, case), f"messages[0].content[0].{case['field']}_url")
    words = refused(case)
    for answer, place in doors:
        assert answer.status_code == (400 if words else 200)
        if words:
            said = answer.json()["error"]
            assert (said["code"], without_place(said["message"])) == ("invalid_media", words)
            assert said["param"].startswith(place)
        else:
            text, warnings = wanted(case)
            assert answer.json()["choices"][0]["message"]["content"] == text
            assert [without_place(one) for one in answer.json().get("warnings", [])] == warnings


@pytest.mark.parametrize("door", [by_form, by_json])
def test_the_sound_of_a_black_film_is_a_medium_where_it_is_asked_for(http: httpx.Client, door: Any) -> None:
    case = next(case for case in CASES if case["file"] == "black_trumpet.mp4")
    answer = door(http, case, **({"video_audio": "true"} if door is by_form else {"use_audio": True}))
    media = [MediaUse(Modality.VIDEO, "", 0, 0.0), MediaUse(Modality.AUDIO, "", 0, 1.0)]
    told = Conversation((Turn("user", ASKED["prompt"]),), tuple(media))
    assert without_place(answer.json()["warnings"][0]) == "The video is all black."
    arrays = [load(OWN[use.modality], held(case).data, {}, Limits()) for use in media]
    heard = [fake_embedding(use.modality, array) for use, array in zip(media, arrays, strict=True)]
    assert answer.json()["choices"][0]["message"]["content"] == expected_text(told, SAMPLED, heard)
