"""Examples of the endpoints about media, tokens, models and the service itself."""

from service.gateway.openapi.examples.table import OperationExamples, RequestExample
from service.gateway.openapi.examples.values import MODEL, PICTURE
from service.version import version

_MODEL = {
    "id": MODEL,
    "object": "model",
    "created": 1780000000,
    "owned_by": "pandagpt",
    "system": "pandagpt",
    "input_modalities": ["image", "video", "audio", "text"],
    "recipes": {
        "image": "lite0-detail-v1",
        "video": "lite0-video-v1",
        "audio": "mixed-audio-v1",
        "text": "clip-bpe-v1",
    },
    "media_parameters": {"image": [], "video": ["use_audio"], "audio": ["clips"], "text": []},
    "version": "1",
    "max_model_len": 2048,
    "embedding_dim": 512,
    "speech": False,
    "tools": "forced",
    "embedding_dimensions": [512],
    "options": [
        {
            "name": "strength",
            "kind": "number",
            "description": "How much the media weigh.",
            "unit": "",
            "default": 1.0,
            "minimum": 0.0,
            "maximum": 1.0,
            "choices": [],
        }
    ],
}
_READY = {"status": "ok", "models": [MODEL]}

SERVICE = {
    "tokenize": OperationExamples(
        (
            RequestExample("A text", {"prompt": "Pandas eat", "return_token_strs": True}),
            RequestExample("Messages in the model's template", {"messages": [{"role": "user", "content": "Hi"}]}),
        ),
        {"count": 3, "max_model_len": 2048, "tokens": [1, 72, 105], "token_strs": ["", "H", "i"]},
    ),
    "detokenize": OperationExamples((RequestExample("Token ids", {"tokens": [72, 105]}),), {"prompt": "Hi"}),
    "inspectMedia": OperationExamples(
        (RequestExample("A picture", {"image": ["picture.png"]}),),
        {
            "object": "list",
            "data": [
                {
                    "object": "media.inspection",
                    "modality": "image",
                    "recipe": "lite0-image-v1",
                    "array": [1, 3, 224, 224],
                    "facts": {"type": "PNG", "size": "1 x 1, RGB"},
                    "spans": [],
                    "warnings": ["The picture is all of one colour."],
                    "parameters": {},
                    "preview": PICTURE,
                }
            ],
        },
    ),
    "listModels": OperationExamples((RequestExample("All"),), {"object": "list", "data": [_MODEL]}),
    "getModel": OperationExamples((RequestExample("One"),), _MODEL),
    "live": OperationExamples((RequestExample("Whether the process answers"),), {"status": "ok"}),
    "ready": OperationExamples((RequestExample("Whether a request would be taken"),), _READY),
    "health": OperationExamples((RequestExample("The same under vLLM's name"),), _READY),
    "ping": OperationExamples((RequestExample("The same under SageMaker's name"),), _READY),
    "getVersion": OperationExamples((RequestExample("The version"),), {"version": version()}),
    "metrics": OperationExamples(
        (RequestExample("For Prometheus"),),
        text='pandagpt_http_requests_total{endpoint="/v1/chat/completions",status="200"} 7.0\n',
    ),
}
