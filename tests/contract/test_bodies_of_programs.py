"""Bodies as programs send them that are no Python package: Cline, Continue, Dify, Flowise, promptfoo.

The fields are those that their public sources send to an OpenAI-compatible address; the answers are read by the fields
that they read.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.contract import made

URL = f"data:image/png;base64,{base64.b64encode(made.PNG).decode()}"
QUESTION = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be short."}
SEEN = {
    "role": "user",
    "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": URL}}],
}
CALLED = [
    SYSTEM,
    QUESTION,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "its text"},
    {"role": "assistant", "content": "It is a file."},
    QUESTION,
]
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}
EVEN = {"frequency_penalty": 0, "presence_penalty": 0, "top_p": 1}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}


@dataclass(frozen=True)
class Sent:
    path: str
    body: Mapping[str, Any]


def chat(messages: Sequence[Mapping[str, Any]], **fields: Any) -> Sent:
    return Sent("chat/completions", {"model": "fake", "messages": messages, **fields})


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
BODIES = {
    "Cline": chat([SYSTEM, QUESTION], temperature=0, **STREAMED),
    "Cline with a picture": chat([SYSTEM, SEEN], temperature=0, **STREAMED),
    "Cline with tools": chat(
        CALLED, temperature=0, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False, **STREAMED
    ),
    "Continue": chat([SYSTEM, QUESTION], max_tokens=64, temperature=0.5, stop=["<|im_end|>"], **STREAMED),
    "Continue with tools": chat(CALLED, max_tokens=64, tools=[TOOL], **STREAMED),
    "Continue completing code": Sent(
        "completions",
        {"model": "fake", "prompt": "def f(", "max_tokens": 16, "temperature": 0.01, "stop": ["\n\n", "```"]}
        | {"stream": True},
    ),
    "Dify's test of an address": chat([{"role": "user", "content": "ping"}], max_tokens=5),
    "Dify's test of completions": Sent("completions", {"model": "fake", "prompt": "ping", "max_tokens": 5}),
    "Dify": chat(
        [SYSTEM, SEEN], stream=True, temperature=0.7, top_k=1, max_tokens=32, user="abc-123", stop=["\nHuman:"], **EVEN
    ),
    "Dify with tools": chat(CALLED, stream=True, temperature=0.7, tools=[TOOL], tool_choice="auto", user="abc-123"),
    "Flowise": chat([SYSTEM, QUESTION], temperature=0.9, n=1, **EVEN, **STREAMED),
    "Flowise with a picture": chat([SEEN], temperature=0.9, max_tokens=64, n=1, **EVEN),
    "promptfoo": chat([QUESTION], max_tokens=64, temperature=0, **EVEN, stop=[]),
    "promptfoo with a schema": chat([QUESTION], max_tokens=256, temperature=0, seed=0, response_format=FORMAT),
}


def by_events(answer: httpx.Response) -> Sequence[Mapping[str, Any]]:
    """As OpenAI's package for JavaScript reads a stream."""
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(one) for one in data]


def by_blank_lines(answer: httpx.Response) -> Sequence[Mapping[str, Any]]:
    """As Dify does: up to the first piece that is no JSON."""
    *pieces, end = [one.strip().removeprefix("data:").lstrip() for one in answer.text.split("\n\n") if one.strip()]
    assert end == "[DONE]"
    return [json.loads(one) for one in pieces]


def text_of(chunks: Sequence[Mapping[str, Any]]) -> str:
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [one["finish_reason"] for one in choices if one["finish_reason"]]
    return "".join(one["text"] if "text" in one else one["delta"].get("content") or "" for one in choices)


@pytest.mark.parametrize("program", BODIES)
def test_a_program_that_is_no_package_is_answered_as_it_reads(http: httpx.Client, program: str) -> None:
    sent = BODIES[program]
    answer = http.post(
        f"/v1/{sent.path}", json=sent.body, headers={"authorization": "Bearer none", "x-api-key": "none"}
    )
    assert answer.status_code == 200, answer.text
    if not sent.body.get("stream"):
        read = answer.json()
        assert read["object"] == ("chat.completion" if "messages" in sent.body else "text_completion")
        [choice] = read["choices"]
        assert choice["text"] if "text" in choice else choice["message"]["content"]
        assert read["usage"]["total_tokens"] == read["usage"]["prompt_tokens"] + read["usage"]["completion_tokens"]
        return
    reader: Callable[[httpx.Response], Sequence[Mapping[str, Any]]]
    reader = by_blank_lines if program.startswith("Dify") else by_events
    chunks = reader(answer)
    assert text_of(chunks)
    if "stream_options" in sent.body:
        assert [chunk["usage"]["completion_tokens"] > 0 for chunk in chunks if chunk.get("usage")] == [True]
