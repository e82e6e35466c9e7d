"""Messages as turns and media, whose bytes are read, within the totals of a request; a chat body as a valid request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pandagpt_core.tools import characters
from pandagpt_core.types import Role, Turn
from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.structured import grammar_of
from service.gateway.inference.parsing.tools import calls_of, characters_of, is_legacy, tools_of
from service.gateway.inference.validated import GenerateRequest, RequestLimits, generate_request
from service.gateway.media.medium import MediaInput, read_part
from service.gateway.media.sources import MediaSources
from service.gateway.schema.content_parts import Message, TextPart
from service.gateway.schema.content_parts import unread_of_part as unread_of_part
from service.gateway.schema.requests import ChatBody
from service.gateway.schema.sampling import StreamOptions
from service.gateway.schema.unsupported import unread

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


async def from_chat(body: ChatBody, sources: MediaSources, limits: RequestLimits) -> GenerateRequest:
    """Raises `invalid_request`, `too_large`, `file_not_found`."""
    ignored = (*unread(body, lenient=limits.lenient), *_unread(body.messages))
    tools = tools_of(body)
    turns, media = await conversation(body.messages, sources, limits, characters_of(tools.tools))
    grammar = await grammar_of(body)
    options = body.stream_options or StreamOptions()
    request = generate_request(
        body, tuple(turns), tuple(media), limits, model=body.model, stream_options=options, grammar=grammar
    )
    return replace(
        request,
        tools=tools,
        function_calls=is_legacy(body),
        continue_final=_continues(body, turns[-1]),
        ignored=ignored,
    )


def _continues(body: ChatBody, last: Turn) -> bool:
    """Whether the answer goes on with the last message. Raises `invalid_request` where it should and cannot."""
    asked = body.continue_final_message or body.messages[-1].prefix
    can = last.role == "assistant" and not last.tool_calls
    if asked and not can:
        where = "continue_final_message" if body.continue_final_message else "messages"
        raise GatewayError("invalid_request", f"{where}: only a text of the assistant's can be continued.", param=where)
    return can and body.continue_final_message is not False and not body.add_generation_prompt


def _unread(messages: Sequence[Message]) -> list[str]:
    """The fields inside of messages that nothing reads, each once."""
    own = [f"messages.{name}" for message in messages for name in message.model_extra or ()]
    parts = [part for message in messages for part in message.content]
    return list(dict.fromkeys([*own, *(f"messages.content.{name}" for part in parts for name in unread_of_part(part))]))


async def conversation(
    messages: Sequence[Message], sources: MediaSources, limits: RequestLimits, more_chars: int = 0
) -> tuple[list[Turn], list[MediaInput]]:
    """Turns and media of messages, within the totals. more_chars: of text beside the messages."""
    if len(messages) > limits.max_messages:
        raise GatewayError(
            "invalid_request",
            f"There are {len(messages)} messages; the limit is {limits.max_messages}.",
            param="messages",
        )
    parts = [part for message in messages for part in message.content]
    calls = [calls_of(message) for message in messages]
    chars = more_chars + sum(map(characters, calls))
    chars += sum(len(part.text) for part in parts if isinstance(part, TextPart))
    check_totals(chars, sum(not isinstance(part, TextPart) for part in parts), limits, "messages")
    turns: list[Turn] = []
    media: list[MediaInput] = []
    for index, message in enumerate(messages):
        texts = []
        for at, part in enumerate(message.content):
            if isinstance(part, TextPart):
                texts.append(part.text)
            else:
                media.append(await read_part(part, f"messages[{index}].content[{at}]", index, sources))
        turns.append(Turn(_ROLES[message.role], "\n".join(texts), calls[index]))
    return turns, media


def check_totals(chars: int, media: int, limits: RequestLimits, param: str) -> None:
    if chars > limits.max_text_chars:
        raise GatewayError(
            "invalid_request",
            f"There are {chars} characters of text; the limit is {limits.max_text_chars}.",
            param=param,
        )
    if media > limits.max_media:
        raise GatewayError("invalid_request", f"There are {media} media; the limit is {limits.max_media}.", param=param)
