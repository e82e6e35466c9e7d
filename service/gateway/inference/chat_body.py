"""A chat body as a valid request: its messages become turns and media, whose bytes are read."""

from collections.abc import Sequence

from pandagpt_core.types import Role, Turn
from service.gateway.errors import GatewayError
from service.gateway.inference.structured import grammar_of
from service.gateway.inference.validated import GenerateRequest, RequestLimits, check_totals, generate_request
from service.gateway.media.medium import MediaInput, read_part
from service.gateway.media.sources import MediaSources
from service.gateway.schema import requests
from service.gateway.schema.content_parts import Message, TextPart
from service.gateway.schema.requests import ChatBody, StreamOptions


async def from_chat(body: ChatBody, sources: MediaSources, limits: RequestLimits) -> GenerateRequest:
    """Raises `invalid_request`, `too_large`, `file_not_found`."""
    requests.check_unsupported(body)
    turns, media = await conversation(body.messages, sources, limits)
    if turns[-1].role != "user":
        raise GatewayError("invalid_request", "The last message must be the user's.", param="messages")
    grammar = await grammar_of(body)
    options = body.stream_options or StreamOptions()
    return generate_request(
        body, tuple(turns), tuple(media), limits, model=body.model, stream_options=options, grammar=grammar
    )


async def conversation(
    messages: Sequence[Message], sources: MediaSources, limits: RequestLimits
) -> tuple[list[Turn], list[MediaInput]]:
    """Turns and media of messages, within the totals."""
    if len(messages) > limits.max_messages:
        raise GatewayError(
            "invalid_request",
            f"There are {len(messages)} messages; the limit is {limits.max_messages}.",
            param="messages",
        )
    parts = [part for message in messages for part in message.content]
    chars = sum(len(part.text) for part in parts if isinstance(part, TextPart))
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
        role: Role = "system" if message.role == "developer" else message.role
        turns.append(Turn(role, "\n".join(texts)))
    return turns, media
