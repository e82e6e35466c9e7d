"""The table of examples: complete, and each fits its schema.

A new endpoint brings a row in `service/gateway/openapi/examples`, a new code of errors one in `errors.py` beside it.
"""

from typing import Any

from jsonschema import Draft202012Validator

from service.gateway.errors import ERRORS
from service.gateway.openapi.errors import ERROR_EXAMPLES
from service.gateway.openapi.examples import OPERATIONS
from tests.gateway.openapi.walk import operations

Json = dict[str, Any]
PICTURES = ("image/png", "application/octet-stream")  # bytes, of which no example can be written


def contents(spec: Json) -> list[tuple[str, str, Json]]:
    """Place, content type and description of every body, answer and error."""
    found = []
    for name, operation in operations(spec):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            found.append((f"the body of {name}", kind, content))
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                found.append((f"the answer {status} of {name}", kind, content))
    for name, answer in spec["components"]["responses"].items():
        for kind, content in answer["content"].items():
            found.append((name, kind, content))
    return found


def test_the_table_has_a_row_for_every_operation_and_no_other(spec: Json) -> None:
    named = {operation["operationId"] for _, operation in operations(spec)}
    assert set(OPERATIONS) == named, "a row in service/gateway/openapi/examples for each operation id"


def test_every_body_answer_and_error_has_an_example(spec: Json) -> None:
    bare = [
        f"{where} ({kind})"
        for where, kind, content in contents(spec)
        if kind not in PICTURES and not content.get("examples")
    ]
    assert bare == [], "give its row of service/gateway/openapi/examples the request, answer, event or text"


def test_every_example_fits_its_schema(spec: Json) -> None:
    wrong = []
    for where, _, content in contents(spec):
        # Other keywords than `$ref` may stand beside it; the components go along, so that references are found.
        validator = Draft202012Validator({**content["schema"], "components": spec["components"]})
        for name, example in content.get("examples", {}).items():
            wrong += [f"{where} ({name}): {error.message}" for error in validator.iter_errors(example["value"])]
    assert wrong == []


def test_an_example_that_does_not_fit_is_found(spec: Json) -> None:
    schema = {"$ref": "#/components/schemas/ChatBody", "components": spec["components"]}
    assert list(Draft202012Validator(schema).iter_errors({"messages": [], "temperature": 101}))


def test_every_code_of_an_error_has_an_example(spec: Json) -> None:
    assert set(ERROR_EXAMPLES) == set(ERRORS), "a row in service/gateway/openapi/errors.py for each code"
    written = {
        example["value"]["error"]["code"]: int(name.removeprefix("Error"))
        for name, answer in spec["components"]["responses"].items()
        for example in answer["content"]["application/json"]["examples"].values()
    }
    assert written == {code: row.status for code, row in ERRORS.items()}


def test_every_operation_has_a_line_for_the_shell(spec: Json) -> None:
    bare = [name for name, operation in operations(spec) if not operation.get("x-codeSamples")]
    assert bare == [], "give its row of service/gateway/openapi/examples a request"
    lines = [sample["source"] for _, operation in operations(spec) for sample in operation["x-codeSamples"]]
    assert all(line.startswith("curl ") for line in lines)
    assert "{" not in "".join(line.split(" -d ")[0] for line in lines)
