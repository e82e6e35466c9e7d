"""A body of /v1/responses as a valid request, together with the fields of the response object that repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandagpt_core.tools import characters
from pandagpt_core.types import Turn
from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.conversation import check_totals, conversation
from service.gateway.inference.parsing.structured import grammar_of
from service.gateway.inference.parsing.tools import ModeAndNames, characters_of, tool_of, tool_request
from service.gateway.inference.responses.conversations import KeptConversation, carried_on
from service.gateway.inference.validated import GenerateRequest, RequestLimits, ResponseOptions, generate_request
from service.gateway.media.medium import MediaInput
from service.gateway.media.sources import MediaSources
from service.gateway.schema.responses.bodies import ResponseBody
from service.gateway.schema.responses.tools import AllowedFunctions, ChosenFunction
from service.gateway.schema.sampling import StreamOptions
from service.gateway.schema.unsupported import changes, unread
from service.gateway.tools.request import ToolRequest

# Fields that would change the answer and are not offered, with the values that change nothing.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "truncation": ("disabled",),
    "conversation": (),
    "prompt": (),
    "stream_options": ({},),
}
_NOTHING_CHANGES = ("include", "reasoning", "service_tier", "safety_identifier")


async def from_response(
    body: ResponseBody, earlier: tuple[KeptConversation, Turn] | None, sources: MediaSources, limits: RequestLimits
) -> GenerateRequest:
    """`earlier`: the conversation to go on with, and its answer. Raises `invalid_request`, `too_large`."""
    ignored = _check(body, limits.lenient)
    tools = _tools(body)
    opening = [Turn("system", body.instructions)] if body.instructions else []
    before: list[Turn] = []
    media: list[MediaInput] = []
    if earlier is not None:
        before, media = carried_on(*earlier, len(opening))
    new, new_media = await _new(body, sources, limits)
    ahead = len(opening) + len(before)
    turns, places = _joined([*opening, *before, *new])
    media = [*media, *(replace(medium, turn=medium.turn + ahead) for medium in new_media)]
    media = [replace(medium, turn=places[medium.turn]) for medium in media]
    if len(turns) > limits.max_messages:
        words = f"There are {len(turns)} messages with the earlier ones; the limit is {limits.max_messages}."
        raise GatewayError("invalid_request", words, param="input")
    chars = characters_of(tools.tools) + sum(len(turn.text) + characters(turn.tool_calls) for turn in turns)
    check_totals(chars, len(media), limits, "input")
    if turns[-1].role not in ("user", "tool"):
        reason = "The last item must be a message of the user's, or what a function returned."
        raise GatewayError("invalid_request", reason, param="input")
    text = body.text.format if body.text else None
    if (body.max_output_tokens or 0) > limits.max_tokens:
        words = f"max_output_tokens is {body.max_output_tokens}; the limit is {limits.max_tokens}."
        raise GatewayError("invalid_request", words, param="max_output_tokens")
    asked = body.model_copy(update={"max_tokens": body.max_output_tokens or body.max_tokens, "response_format": text})
    wanted = generate_request(
        asked,
        turns,
        tuple(media),
        limits,
        model=body.model,
        stream_options=StreamOptions(),
        grammar=await grammar_of(asked),
    )
    options = ResponseOptions(_shape(body), len(opening), body.store is not False, bool(body.background))
    return replace(wanted, tools=tools, response=options, ignored=ignored)


def _joined(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], list[int]]:
    """Each run of the assistant's items before its last call as one turn, and the new place of each old one."""
    joined: list[Turn] = []
    places: list[int] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if turn.tool_calls and last is not None and last.role == "assistant":
            joined[-1] = replace(last, text=last.text + turn.text, tool_calls=(*last.tool_calls, *turn.tool_calls))
        else:
            joined.append(turn)
        places.append(len(joined) - 1)
    return tuple(joined), places


async def _new(body: ResponseBody, sources: MediaSources, limits: RequestLimits) -> tuple[list[Turn], list[MediaInput]]:
    try:
        return await conversation(body.input, sources, limits)
    except GatewayError as error:
        param = (error.param or "input").replace("messages", "input", 1)
        raise GatewayError(error.code, error.message, param=param, retry_after_s=error.retry_after_s) from None


def _check(body: ResponseBody, lenient: bool) -> tuple[str, ...]:
    """The parameters that nothing reads. Raises `invalid_request`."""
    for name, value in (body.model_extra or {}).items():
        if not lenient and name in _REFUSED and changes(value, _REFUSED[name]):
            raise GatewayError("invalid_request", f"{name} is not supported here.", param=name)
    ignored = tuple(name for name in unread(body, lenient=lenient) if name not in _neutral(body))
    if (body.n or 1) > 1:
        raise GatewayError("invalid_request", "n is not supported here: a response has one output.", param="n")
    if body.background and body.store is False:
        raise GatewayError("invalid_request", "background needs store: nobody could read the answer.", param="store")
    return ignored


def _neutral(body: ResponseBody) -> tuple[str, ...]:
    """The parameters that nothing reads and whose values change nothing."""
    given = body.model_extra or {}
    return (*_NOTHING_CHANGES, *(name for name, values in _REFUSED.items() if not changes(given.get(name), values)))


def _shape(body: ResponseBody) -> dict[str, Any]:
    wanted = body.text.format if body.text else None
    plain: dict[str, Any] = {"type": "text"}
    written = plain if wanted is None else wanted.model_dump(by_alias=True, exclude_none=True)
    written.update(written.pop("json_schema", {}))
    return {
        "background": bool(body.background),
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "previous_response_id": body.previous_response_id,
        "store": body.store is not False,
        "temperature": body.temperature,
        "text": {"format": written},
        "top_p": body.top_p,
        "metadata": body.metadata or {},
        **_tools_shape(body),
    }


def _tools(body: ResponseBody) -> ToolRequest:
    """Raises `invalid_request`."""
    tools = [tool_of(one, f"tools[{at}]") for at, one in enumerate(body.tools or ())]
    parallel = body.parallel_tool_calls is not False and not isinstance(body.tool_choice, ChosenFunction)
    return tool_request(tools, _choice(body.tool_choice), parallel, "tool_choice")


def _tools_shape(body: ResponseBody) -> dict[str, Any]:
    choice = body.tool_choice
    return {
        "tools": [
            {
                **one.model_dump(include={"type", "name", "description"}, exclude_none=True),
                "parameters": one.parameters,
                "strict": bool(one.strict),
            }
            for one in body.tools or ()
        ],
        "tool_choice": choice.model_dump()
        if isinstance(choice, ChosenFunction | AllowedFunctions)
        else choice or "auto",
        "parallel_tool_calls": body.parallel_tool_calls is not False,
    }


def _choice(choice: object) -> ModeAndNames:
    match choice:
        case ChosenFunction():
            return "required", (choice.name,)
        case AllowedFunctions():
            return choice.mode, tuple(tool.name for tool in choice.tools)
        case "none" | "auto" | "required":
            return choice, None
    return None, None
