"""Examples of the endpoints that answer with vectors, ranks and scores."""

from service.gateway.openapi.examples.table import OperationExamples, RequestExample
from service.gateway.openapi.examples.values import CREATED, IMAGE, MODEL, PICTURE

_ID = "embd-0123456789abcdef0123456789abcdef"
_USAGE = {"prompt_tokens": 9, "total_tokens": 9, "prompt_tokens_details": {}}

VECTORS = {
    "createEmbeddings": OperationExamples(
        (
            RequestExample("Two strings", {"input": ["a dog", "a cat"]}),
            RequestExample("A picture and a string, for search across modalities", {"input": [IMAGE, "a dog"]}),
        ),
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
            "model": MODEL,
            "usage": _USAGE,
        },
    ),
    "rerank": OperationExamples(
        (
            RequestExample(
                "Texts in the order of a query", {"query": "a dog", "documents": ["a dog barks", "a cat"], "top_n": 1}
            ),
            RequestExample("Pictures for a text", {"query": "a dog", "documents": [IMAGE, {"image": PICTURE}]}),
        ),
        {
            "id": _ID,
            "model": MODEL,
            "results": [{"index": 0, "relevance_score": 0.91, "document": {"text": "a dog barks"}}],
            "usage": _USAGE,
        },
    ),
    "score": OperationExamples(
        (
            RequestExample("One text against two", {"text_1": "a dog", "text_2": ["a dog barks", "a cat"]}),
            RequestExample("A picture against a text", {"text_1": IMAGE, "text_2": "a dog"}),
        ),
        {
            "id": _ID,
            "object": "list",
            "created": CREATED,
            "model": MODEL,
            "data": [{"index": 0, "object": "score", "score": 0.91}],
            "usage": _USAGE,
        },
    ),
}
