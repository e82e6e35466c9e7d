"""The tools of a model and the grammar of its answer: a request's tools against the model's announcement."""

import asyncio
import json
from dataclasses import dataclass
from typing import Literal

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import Grammar, ModelInfo
from service.gateway.errors import GatewayError
from service.gateway.tools.grammar import calls_grammar
from service.gateway.tools.request import ToolRequest

ToolPolicy = Literal["auto", "refuse"]


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """definitions: of the tools that go into the prompt, as JSON text. grammar: of the whole answer. reads: whether the
    answer's text may hold calls."""

    definitions: tuple[str, ...] = ()
    grammar: Grammar | None = None
    reads: bool = False
    warnings: tuple[str, ...] = ()


NO_PLAN = ToolPlan()


async def plan(request: ToolRequest, info: ModelInfo, answer: Grammar | None, policy: ToolPolicy) -> ToolPlan:
    """answer: the grammar of an answer that is no call. Compiling a grammar takes milliseconds of a thread.

    A model that cannot choose by itself whether to call answers without the tools, with a warning; with the policy
    "refuse" that is an `invalid_request`, as is a schema that cannot be followed.
    """
    if not request.offered:
        return ToolPlan(grammar=answer)
    if request.mode == "auto" and info.tools == "forced":
        reason = f"{info.id} calls functions only where tool_choice requires it or names one"
        if policy == "refuse":
            raise GatewayError("invalid_request", f"tools: {reason}.", param="tools")
        return ToolPlan(grammar=answer, warnings=(f"tools: {reason}, so that they were left out",))
    try:
        grammar = await asyncio.to_thread(calls_grammar, request, answer)
    except InvalidRequest as error:
        raise GatewayError("invalid_request", f"{error}.", param=error.param or "tools") from None
    return ToolPlan(tuple(json.dumps(tool.definition(), ensure_ascii=False) for tool in request.tools), grammar, True)
