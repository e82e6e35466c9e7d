"""Messages as turns and media, within the totals of a request, which are counted before a byte is read."""

from typing import Any

import pytest

from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.conversation import from_chat
from service.gateway.inference.validated import GenerateRequest, RequestLimits
from service.gateway.media.sources import Content, MediaSources
from service.gateway.schema.requests import ChatBody

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}


async def parsed(*messages: dict[str, Any], limits: RequestLimits | None = None, **fields: Any) -> GenerateRequest:
    body = ChatBody.model_validate({"messages": list(messages), **fields})
    return await from_chat(body, MediaSources(max_bytes=1 << 20), limits or RequestLimits())


def user(*content: object) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


async def test_texts_become_turns_and_media_name_their_place() -> None:
    request = await parsed({"role": "developer", "content": "Be brief."}, user(text("a"), PICTURE, text("b")))
    assert [(turn.role, turn.text) for turn in request.turns] == [("system", "Be brief."), ("user", "a\nb")]
    (medium,) = request.media
    assert (medium.turn, medium.where, medium.data) == (1, "messages[1].content[1].image_url.url", b"ABC")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (RequestLimits(max_messages=1), "There are 2 messages; the limit is 1"),
        (RequestLimits(max_media=1), "There are 2 media; the limit is 1"),
        (RequestLimits(max_text_chars=5), "There are 6 characters of text; the limit is 5"),
    ],
)
async def test_a_total_beyond_its_limit_is_refused_with_both_numbers(limits: RequestLimits, words: str) -> None:
    with pytest.raises(GatewayError, match=words) as refused:
        await parsed(user(text("abc"), PICTURE), user(text("def"), PICTURE), limits=limits)
    assert (refused.value.code, refused.value.param) == ("invalid_request", "messages")


async def test_no_link_is_opened_of_a_request_that_is_refused() -> None:
    opened: list[str] = []

    async def fetch(url: str) -> Content:
        opened.append(url)
        return Content(b"", "")

    link = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = ChatBody.model_validate({"messages": [user(link, link)]})
    with pytest.raises(GatewayError):
        await from_chat(body, MediaSources(max_bytes=1, fetch=fetch), RequestLimits(max_media=1))
    assert opened == []


async def test_only_the_assistants_text_is_continued() -> None:
    assistant = {"role": "assistant", "content": "It is"}
    assert (await parsed(user(text("What?")), assistant, continue_final_message=True)).continue_final
    with pytest.raises(GatewayError) as refused:
        await parsed(user(text("What?")), continue_final_message=True)
    assert refused.value.param == "continue_final_message"
