"""Examples of the endpoints that answer in words."""

import json
from typing import Any

from service.gateway.openapi.examples.table import OperationExamples, RequestExample
from service.gateway.openapi.examples.values import CREATED, IMAGE, MODEL, PICTURE, REQUEST, RESPONSE, text_part

_DETAILS = {"cached_tokens": 0, "cached_items": 0, "image_items": 1} | dict.fromkeys(
    ("video_items", "audio_items", "depth_items", "thermal_items", "imu_items", "text_items", "points_items"), 0
)
_USAGE = {"prompt_tokens": 24, "completion_tokens": 5, "total_tokens": 29, "prompt_tokens_details": _DETAILS}
_HEAD = {"created": CREATED, "model": MODEL, "system_fingerprint": "fp_0123456789"}
_TEXT = "A red square."


def _asked(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 64, **fields}


CHAT_ANSWER = {
    "id": REQUEST,
    "object": "chat.completion",
    **_HEAD,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _TEXT, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}
_CHUNK = {
    "id": REQUEST,
    "object": "chat.completion.chunk",
    **_HEAD,
    "choices": [{"index": 0, "delta": {"content": " red"}, "logprobs": None, "finish_reason": None}],
}
_COMPLETION = {
    "id": REQUEST.replace("chatcmpl", "cmpl"),
    "object": "text_completion",
    **_HEAD,
    "choices": [{"index": 0, "text": " bamboo.", "logprobs": None, "finish_reason": "stop"}],
    "usage": _USAGE | {"prompt_tokens_details": _DETAILS | {"image_items": 0}},
}
_COMPLETION_CHUNK = {name: value for name, value in _COMPLETION.items() if name != "usage"}
_MESSAGE = "msg_0123456789abcdef0123456789abcdef"
RESPONSE_ANSWER = {
    "id": RESPONSE,
    "object": "response",
    "created_at": CREATED,
    "status": "completed",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": 64,
    "model": MODEL,
    "output": [
        {
            "id": _MESSAGE,
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Bamboo.", "annotations": [], "logprobs": []}],
        }
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    },
    "metadata": {},
}
_DELTA = {
    "type": "response.output_text.delta",
    "sequence_number": 4,
    "item_id": _MESSAGE,
    "output_index": 0,
    "content_index": 0,
    "delta": "Bamboo",
    "logprobs": [],
}
RESPONSE_EVENT = {"data": json.dumps(_DELTA)}
CHAT_EVENT = {"id": "2", "data": json.dumps(_CHUNK)}
_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}

TEXT = {
    "createChatCompletion": OperationExamples(
        (
            RequestExample(
                "A question in words",
                {"messages": [{"role": "user", "content": "What do pandas eat?"}], "max_tokens": 64},
            ),
            RequestExample("A question about a picture", _asked(IMAGE, text_part("What is this?"))),
            RequestExample(
                "The answer as server-sent events, with its usage",
                _asked(IMAGE, text_part("What is this?"), stream=True, stream_options={"include_usage": True}, seed=7),
            ),
            RequestExample(
                "A picture and a word through the shared space, weighed",
                _asked(
                    {**IMAGE, "weight": 0.7},
                    {"type": "context_text", "context_text": "a dog barks", "weight": 0.3},
                    text_part("What may be going on?"),
                    temperature=0,
                ),
            ),
            RequestExample(
                "A function that must be called",
                {**_asked(text_part("Is it raining in Bern?")), "tools": [_WEATHER], "tool_choice": "required"},
            ),
        ),
        CHAT_ANSWER,
        {"data": json.dumps(_CHUNK)},
    ),
    "createCompletion": OperationExamples(
        (
            RequestExample("A text to continue", {"prompt": "Pandas eat", "max_tokens": 16, "temperature": 0}),
            RequestExample(
                "A text's own tokens with their log probabilities",
                {"prompt": "Pandas eat", "echo": True, "logprobs": 1},
            ),
        ),
        _COMPLETION,
        {"data": json.dumps(_COMPLETION_CHUNK)},
    ),
    "createResponse": OperationExamples(
        (
            RequestExample("A text", {"input": "What do pandas eat?", "max_output_tokens": 64}),
            RequestExample(
                "A picture and a question, streamed",
                {
                    "input": [
                        {
                            "role": "user",
                            "content": [
                                {"type": "input_image", "image_url": PICTURE},
                                {"type": "input_text", "text": "What is this?"},
                            ],
                        }
                    ],
                    "stream": True,
                },
            ),
            RequestExample("Without waiting", {"input": "Tell me of pandas.", "background": True}),
        ),
        RESPONSE_ANSWER,
        RESPONSE_EVENT,
    ),
    "generate": OperationExamples(
        (
            RequestExample("A question about a picture", {"prompt": "What is this?", "image": ["picture.png"]}),
            RequestExample(
                "A picture and a sound, streamed",
                {
                    "prompt": "What is going on?",
                    "image": ["picture.png"],
                    "audio": ["sound.wav"],
                    "max_tokens": 32,
                    "stream": True,
                },
            ),
        ),
        CHAT_ANSWER,
        CHAT_EVENT,
    ),
}
