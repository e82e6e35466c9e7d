"""Every content part of the interface page, sent by the `openai` package and seen at the worker."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

from pandagpt_core.types import Modality
from tests.contract import made
from tests.contract.conftest import SeeingRuntime

TEXT = {"type": "text", "text": "What is it?"}


def ask(client: OpenAI, *parts: dict[str, Any], **fields: Any) -> Any:
    messages: Any = [{"role": "user", "content": [TEXT, *parts]}]
    return client.chat.completions.create(model="fake", messages=messages, max_tokens=3, seed=1, **fields)


def heard(answer: Any) -> str:
    """The modality that the fake model says it was given."""
    return answer.choices[0].message.content.partition(":")[0].removeprefix("<")


def url_part(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"type": f"{kind}_url", f"{kind}_url": {"url": made.data_url(data), **more}}


def test_a_text_part_is_the_instruction_itself(client: OpenAI, runtime: SeeingRuntime) -> None:
    ask(client)
    (conversation, _) = runtime.seen[0]
    assert (conversation.turns[-1].text, conversation.media) == ("What is it?", ())


def test_an_image_part_takes_a_data_url(client: OpenAI) -> None:
    assert heard(ask(client, url_part("image", made.PNG, detail="low"))) == "image"


def test_a_link_may_be_the_url_itself(client: OpenAI, http: httpx.Client) -> None:
    for name, data, kind in (("image", made.PNG, "image/png"), ("audio", made.sound("wav"), "audio/wav")):
        part = {"type": f"{name}_url", f"{name}_url": made.data_url(data, kind)}
        assert heard(ask(client, part)) == name
        vector = http.post("/v1/embeddings", json={"input": [part]}).json()["data"]
        assert vector == http.post("/v1/embeddings", json={"input": [url_part(name, data)]}).json()["data"]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "image_url", "image_url": "dog.png"})
    assert refused.value.param == "messages[0].content[1].image_url.url"


def test_an_image_part_takes_an_uploaded_files_id(client: OpenAI) -> None:
    file = client.files.create(file=("a.png", made.PNG), purpose="vision")
    by_id = ask(client, {"type": "image_url", "image_url": {"url": f"file:{file.id}"}})
    assert by_id.choices == ask(client, url_part("image", made.PNG)).choices


def test_an_image_part_with_a_remote_url_is_refused_where_fetching_is_off(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})
    assert refused.value.param == "messages[0].content[1].image_url.url"


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "ogg", "m4a"])
def test_an_input_audio_part_takes_each_format(client: OpenAI, kind: str) -> None:
    data = base64.b64encode(made.sound(kind)).decode()
    assert heard(ask(client, {"type": "input_audio", "input_audio": {"data": data, "format": kind}})) == "audio"


def test_the_bytes_of_an_input_audio_part_decide_whatever_its_format_says(client: OpenAI) -> None:
    data = base64.b64encode(made.sound("wav")).decode()
    assert heard(ask(client, {"type": "input_audio", "input_audio": {"data": data, "format": "aac"}})) == "audio"


def test_an_audio_part_takes_a_data_url(client: OpenAI) -> None:
    assert heard(ask(client, url_part("audio", made.sound("wav")))) == "audio"


def test_a_video_part_takes_a_data_url(client: OpenAI) -> None:
    assert heard(ask(client, url_part("video", made.VIDEO))) == "video"


@pytest.mark.parametrize("kind", ["png", "tiff", "npy"])
def test_a_depth_part_takes_each_format_with_its_unit_and_camera(client: OpenAI, kind: str) -> None:
    assert heard(ask(client, url_part("depth", made.grey(kind), depth=made.METRIC))) == "depth"


def test_a_depth_part_takes_ready_disparity_without_a_camera(client: OpenAI) -> None:
    assert heard(ask(client, url_part("depth", made.disparities(), depth={"unit": "disparity"}))) == "depth"


@pytest.mark.parametrize(("kind", "bits"), [("png", 8), ("png", 16), ("npy", 8)])
def test_a_thermal_part_takes_each_format(client: OpenAI, kind: str, bits: int) -> None:
    assert heard(ask(client, url_part("thermal", made.grey(kind, bits)))) == "thermal"


@pytest.mark.parametrize("kind", ["csv", "json", "npy"])
def test_an_imu_part_takes_each_format_with_its_rate(client: OpenAI, kind: str) -> None:
    assert heard(ask(client, url_part("imu", made.motion(kind), imu={"rate_hz": 50}))) == "imu"


@pytest.mark.parametrize("kind", ["ply", "obj", "glb", "las", "laz", "npy", "csv"])
def test_a_points_part_takes_each_format(client: OpenAI, kind: str) -> None:
    assert heard(ask(client, url_part("points", made.cloud(kind)))) == "points"


def test_a_points_part_takes_the_row_to_start_with(client: OpenAI) -> None:
    assert heard(ask(client, url_part("points", made.cloud("npy"), points={"start": 829}))) == "points"
    with pytest.raises(openai.BadRequestError, match="8191") as refused:
        ask(client, url_part("points", made.cloud("npy"), points={"start": 8192}))
    assert "start" in str(refused.value.param)


def test_a_context_text_part_goes_into_the_shared_space_and_not_into_the_prompt(
    client: OpenAI, runtime: SeeingRuntime
) -> None:
    assert heard(ask(client, {"type": "context_text", "context_text": "a dog barks"})) == "text"
    (conversation, _) = runtime.seen[0]
    assert [use.modality for use in conversation.media] == [Modality.TEXT]
    assert "dog" not in conversation.turns[-1].text


def test_a_thermal_part_takes_the_raw_values_that_become_0_and_1(client: OpenAI) -> None:
    span = {"low": 100, "high": 4000}
    assert heard(ask(client, url_part("thermal", made.grey("png"), thermal=span))) == "thermal"
    with pytest.raises(openai.BadRequestError, match="low and high"):
        ask(client, url_part("thermal", made.grey("png"), thermal={"low": 5, "high": 1}))


@pytest.mark.parametrize(
    ("modality", "data", "more"),
    [
        ("image", made.PNG, {}),
        ("video", made.VIDEO, {}),
        ("audio", made.sound("flac"), {}),
        ("depth", made.grey("png"), {"depth": made.METRIC}),
        ("thermal", made.grey("png", 8), {}),
        ("imu", made.motion("csv"), {"imu": {"rate_hz": 50}}),
        ("text", b"a dog barks", {}),
        ("points", made.cloud("ply"), {"points": {"start": 1}}),
    ],
)
def test_a_file_part_takes_an_upload_of_every_modality(
    client: OpenAI, modality: str, data: bytes, more: dict[str, Any]
) -> None:
    file = client.files.create(file=("a", data), purpose="user_data")
    assert heard(ask(client, {"type": "file", "file": {"file_id": file.id}, "modality": modality, **more})) == modality


@pytest.mark.parametrize(
    ("file", "modality"),
    [
        ({"file_data": made.data_url(made.PNG, "image/png")}, None),
        ({"file_data": made.data_url(made.PNG)}, "image"),
        ({"file_data": base64.b64encode(made.sound("wav")).decode(), "filename": "a.WAV"}, None),
        ({"file_data": base64.b64encode(made.cloud("ply")).decode(), "filename": "a.ply"}, None),
    ],
)
def test_a_file_part_takes_the_bytes_themselves(client: OpenAI, file: dict[str, str], modality: str | None) -> None:
    more = {"modality": modality} if modality else {}
    expected = modality or {"a.WAV": "audio", "a.ply": "points"}.get(file.get("filename", ""), "image")
    assert heard(ask(client, {"type": "file", "file": file, **more})) == expected


@pytest.mark.parametrize(
    ("file", "param"),
    [
        ({}, "file.file_id"),
        ({"file_id": "a", "file_data": "YQ=="}, "file.file_id"),
        ({"file_data": "YQ=="}, "modality"),
        ({"file_data": "no base64", "filename": "a.png"}, "file.file_data"),
    ],
)
def test_a_file_part_that_cannot_be_read_is_refused_by_its_place(
    client: OpenAI, file: dict[str, str], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "file", "file": file})
    assert refused.value.param == f"messages[0].content[1].{param}"


def test_an_embedding_takes_the_place_of_a_medium(client: OpenAI, runtime: SeeingRuntime) -> None:
    vector = client.embeddings.create(model="fake", input="a dog").data[0].embedding
    packed = base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    answers = [
        ask(client, {"type": "embedding", "embedding": given, "modality": "text"}).choices[0].message.content
        for given in (vector, packed)
    ]
    assert answers[0] == answers[1]
    assert answers[0].startswith(f"<text:{np.asarray(vector, '<f4').tobytes().hex()[:8]}>")
    assert ask(client, {"type": "embedding", "embedding": vector}).choices[0].message.content.startswith("<image:")


@pytest.mark.parametrize("vector", [[1.0] * 7, [], "bm8=", base64.b64encode(b"\x00\x00\xc0\x7f" * 8).decode()])
def test_an_embedding_of_another_width_or_not_finite_is_refused(client: OpenAI, vector: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "embedding", "embedding": vector})
    assert refused.value.param.startswith("messages[0].content[1].embedding")


def drawn(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (23, 19), colour).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("absent", [{"image_url": None}, {"image_url": {}}, {}])
def test_a_uuid_stands_for_the_bytes_that_came_with_it(client: OpenAI, absent: dict[str, Any]) -> None:
    sent = ask(client, {**url_part("image", drawn((1, 2, 3))), "uuid": "sku-1"})
    assert ask(client, {"type": "image_url", "uuid": "sku-1", **absent}).choices == sent.choices
    weighted = ask(client, {"type": "image_url", "uuid": "sku-1", "weight": 0.5, **absent})
    assert heard(weighted) == "image"


def test_a_uuid_stands_for_sounds_and_files_too(client: OpenAI) -> None:
    data = base64.b64encode(made.sound("wav")).decode()
    sent = ask(client, {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}, "uuid": "bark"})
    assert ask(client, {"type": "input_audio", "input_audio": None, "uuid": "bark"}).choices == sent.choices
    assert ask(client, {"type": "audio_url", "uuid": "bark"}).choices == sent.choices
    file = {"file_data": made.data_url(drawn((3, 2, 1)), "image/png")}
    sent = ask(client, {"type": "file", "file": file, "uuid": "page"})
    assert ask(client, {"type": "image_url", "uuid": "page"}).choices == sent.choices


def test_a_uuid_works_within_one_request_and_in_responses_and_embeddings(client: OpenAI) -> None:
    part = {**url_part("image", drawn((5, 6, 7))), "uuid": "twice"}
    again: Any = {"type": "image_url", "uuid": "twice"}
    assert heard(ask(client, part, again)) == "image"
    inputs: Any = [{"role": "user", "content": [TEXT, {"type": "input_image", "image_url": None, "uuid": "twice"}]}]
    assert client.responses.create(model="fake", input=inputs).output_text.startswith("<image:")
    by_bytes, by_uuid = (client.embeddings.create(model="fake", input=[one]).data[0] for one in (part, again))
    assert by_bytes.embedding == by_uuid.embedding


def test_bytes_that_come_with_a_known_uuid_are_read_and_take_its_place(client: OpenAI) -> None:
    first, second = (drawn((9, 9, shade)) for shade in (1, 2))
    expected = ask(client, url_part("image", second))
    ask(client, {**url_part("image", first), "uuid": "cover"})
    assert ask(client, {**url_part("image", second), "uuid": "cover"}).choices == expected.choices
    assert ask(client, {"type": "image_url", "uuid": "cover"}).choices == expected.choices


def test_a_uuid_that_names_nothing_is_refused_by_its_place(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "image_url", "image_url": None, "uuid": "nobody"})
    assert (refused.value.code, refused.value.param) == ("invalid_media", "messages[0].content[1].uuid")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "image_url", "image_url": None})
    assert refused.value.param == "messages[0].content[1].image_url"
    ask(client, {**url_part("thermal", made.grey("png"), thermal={"low": 77, "high": 4001}), "uuid": "hot"})
    with pytest.raises(openai.BadRequestError, match="cache") as refused:
        ask(client, {"type": "image_url", "uuid": "hot"})
    assert (refused.value.code, refused.value.param) == ("invalid_media", "messages[0].content[1].uuid")


def test_a_weight_reaches_the_model_and_is_one_unless_given(client: OpenAI, runtime: SeeingRuntime) -> None:
    ask(client, {**url_part("image", made.PNG), "weight": 0.25}, url_part("audio", made.sound("wav")))
    (conversation, _) = runtime.seen[0]
    assert [use.weight for use in conversation.media] == [0.25, 1.0]


def test_media_may_stand_in_any_message_and_are_encoded_once(
    client: OpenAI, http: httpx.Client, runtime: SeeingRuntime
) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (31, 17), (12, 34, 56)).save(drawn, "PNG")  # a picture that no other test has sent before
    picture = url_part("image", drawn.getvalue())
    before = runtime.encoded.get(Modality.IMAGE, 0)
    messages: Any = [
        {"role": "user", "content": [picture, TEXT]},
        {"role": "assistant", "content": "A ramp."},
        {"role": "user", "content": "And now?"},
    ]
    answer = client.chat.completions.create(model="fake", messages=messages, max_tokens=3)
    assert heard(answer) == "image"
    ask(client, picture)
    assert runtime.encoded[Modality.IMAGE] == before + 1


def test_a_part_of_an_unknown_type_is_refused_by_its_place(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, {"type": "smell_url", "smell_url": {"url": "data:,"}})
    assert (refused.value.code, refused.value.param) == ("invalid_request", "messages[0].content[1]")


# Messages


def test_contents_are_strings_arrays_null_or_empty(client: OpenAI, runtime: SeeingRuntime) -> None:
    messages: Any = [
        {"role": "user", "content": ["One", {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": []},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Three"},
    ]
    client.chat.completions.create(model="fake", messages=messages, max_tokens=1)
    (conversation, _) = runtime.seen[0]
    assert [turn.text for turn in conversation.turns] == ["One\ntwo", "", "", "", "Three"]


def test_system_and_developer_are_one_role_and_names_change_nothing(client: OpenAI, runtime: SeeingRuntime) -> None:
    for role in ("system", "developer"):
        messages: Any = [
            {"role": role, "content": "Be brief.", "name": "house"},
            {"role": "user", "content": "Hi", "name": "Ann"},
        ]
        client.chat.completions.create(model="fake", messages=messages, max_tokens=1)
    first, second = (conversation for conversation, _ in runtime.seen)
    assert first == second
    assert [turn.role for turn in first.turns] == ["system", "user"]


def test_a_conversation_without_a_message_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="fake", messages=[])
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    ("fields", "continued"),
    [
        ({}, True),
        ({"continue_final_message": True, "add_generation_prompt": False}, True),
        ({"continue_final_message": False}, False),
        ({"add_generation_prompt": True}, False),
    ],
)
def test_a_last_message_of_the_assistant_is_continued_unless_that_is_off(
    client: OpenAI, runtime: SeeingRuntime, fields: Any, continued: bool
) -> None:
    messages: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is", "prefix": True}]
    if not continued:
        del messages[1]["prefix"]
    client.chat.completions.create(model="fake", messages=messages, max_tokens=1, extra_body=fields)
    assert runtime.seen[0][0].continue_final is continued


def test_a_last_system_message_is_answered(client: OpenAI, runtime: SeeingRuntime) -> None:
    messages: Any = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}]
    client.chat.completions.create(model="fake", messages=messages, max_tokens=1)
    assert [turn.role for turn in runtime.seen[0][0].turns] == ["user", "system"]
    extra: Any = {"continue_final_message": True}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="fake", messages=messages, extra_body=extra)
    assert refused.value.param == "continue_final_message"


def test_fields_inside_of_messages_that_nothing_reads_are_named(client: OpenAI) -> None:
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    messages: Any = [{"role": "user", "content": [part, part], "name": "Ann"}]
    answer = client.chat.completions.with_raw_response.create(model="fake", messages=messages, max_tokens=1)
    assert answer.headers["x-ignored-params"] == "messages.name, messages.content.cache_control"
