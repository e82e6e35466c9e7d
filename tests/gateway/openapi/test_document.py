"""openapi.yaml is what the application says, and valid."""

import re
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import validate

from service.gateway.openapi import document as openapi_document
from service.gateway.schema.answers import ChatCompletion
from service.gateway.schema.requests import ChatBody, GenerateForm
from service.gateway.schema.sampling import Sampling

Json = dict[str, Any]


def test_the_written_interface_is_the_applications(root: Path) -> None:
    written = (root / "openapi.yaml").read_text(encoding="utf-8")
    assert written == openapi_document.text(), "run `make openapi`"


def test_the_written_interface_is_valid_and_complete(spec: Json) -> None:
    validate(spec)
    operations = {f"{method} {path}" for path, methods in spec["paths"].items() for method in methods}
    assert operations >= {
        "post /v1/chat/completions",
        "post /v1/generate",
        "post /v1/embeddings",
        "get /v1/models",
        "get /v1/models/{model}",
        "get /v1/requests/{request_id}",
        "delete /v1/requests/{request_id}",
        "get /v1/requests/{request_id}/events",
        "get /health/live",
        "get /health/ready",
        "get /metrics",
        "get /version",
    }


def test_the_written_interface_names_tags_and_server_and_nothing_unused(spec: Json) -> None:
    operations = [operation for methods in spec["paths"].values() for operation in methods.values()]
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in spec["tags"]}
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] and operation["description"] for operation in operations)
    assert [server["url"] for server in spec["servers"]] == ["/"]
    text = yaml.safe_dump(spec)
    assert [name for name in spec["components"]["schemas"] if f"/schemas/{name}'" not in text] == []


def test_writing_it_again_changes_nothing(spec: Json) -> None:
    assert openapi_document.of_application() == spec


def test_both_doors_take_every_sampling_parameter() -> None:
    assert set(Sampling.model_fields) <= set(ChatBody.model_fields)
    assert set(Sampling.model_fields) <= set(GenerateForm.model_fields)


def test_the_answers_written_down_are_those_given() -> None:
    from service.broker.protocol import Done
    from service.gateway.streaming.chunks import ResponseMetadata
    from service.gateway.streaming.whole import WholeFold

    whole = WholeFold(ResponseMetadata(id="i", model="m", created=1)).feed(Done())
    ChatCompletion.model_validate(whole, strict=True)


def test_operations_have_the_plain_names_of_a_clients_methods(spec: Json) -> None:
    names = {
        f"{method} {path}": operation["operationId"]
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    }
    assert names["post /v1/chat/completions"] == "createChatCompletion"
    assert names["get /v1/batches/{batch_id}"] == "getBatch"
    assert names["post /v1/responses/{response_id}/cancel"] == "cancelResponse"
    assert len(set(names.values())) == len(names)
    assert [name for name in names.values() if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)] == []
