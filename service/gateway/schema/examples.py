"""Requests that work as they stand, for the written interface; a test sends each of them."""

from typing import Any

# One pixel, so that the document stays readable.
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4kWIEAANWAV/oF4RSAAAAAElFTkSuQmCC"
)
_IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}


def _asked(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 64, **fields}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _named(**values: Any) -> dict[str, Any]:
    return {name: {"summary": summary, "value": value} for name, (summary, value) in values.items()}


CHAT = _named(
    text=("A question in words", {"messages": [{"role": "user", "content": "What do pandas eat?"}], "max_tokens": 64}),
    picture=("A question about a picture", _asked(_IMAGE, _text("What is this?"))),
    stream=(
        "The answer as server-sent events, with its usage",
        _asked(_IMAGE, _text("What is this?"), stream=True, stream_options={"include_usage": True}, seed=7),
    ),
    composed=(
        "A picture and a word through the shared space, weighed",
        _asked(
            {**_IMAGE, "weight": 0.7},
            {"type": "context_text", "context_text": "a dog barks", "weight": 0.3},
            _text("What may be going on?"),
            temperature=0,
        ),
    ),
)
COMPLETIONS = _named(
    text=("A text to continue", {"prompt": "Pandas eat", "max_tokens": 16, "temperature": 0}),
    scored=("A text's own tokens with their log probabilities", {"prompt": "Pandas eat", "echo": True, "logprobs": 1}),
)
TOKENIZE = _named(
    prompt=("A text", {"prompt": "Pandas eat", "return_token_strs": True}),
    messages=("Messages in the model's template", {"messages": [{"role": "user", "content": "Hi"}]}),
)
DETOKENIZE = _named(ids=("Token ids", {"tokens": [72, 105]}))
RESPONSES = _named(
    text=("A text", {"input": "What do pandas eat?", "max_output_tokens": 64}),
    picture=(
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
    background=("Without waiting", {"input": "Tell me of pandas.", "background": True}),
)
EMBEDDINGS = _named(
    words=("Two strings", {"input": ["a dog", "a cat"]}),
    across=("A picture and a string, for search across modalities", {"input": [_IMAGE, "a dog"]}),
)
RERANK = _named(
    words=("Texts in the order of a query", {"query": "a dog", "documents": ["a dog barks", "a cat"], "top_n": 1}),
    pictures=("Pictures for a text", {"query": "a dog", "documents": [_IMAGE, {"image": PICTURE}]}),
)
SCORE = _named(
    words=("One text against two", {"text_1": "a dog", "text_2": ["a dog barks", "a cat"]}),
    across=("A picture against a text", {"text_1": _IMAGE, "text_2": "a dog"}),
)


def json_body(model: str, examples: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its own JSON body of that schema."""
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }
