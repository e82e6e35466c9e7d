"""The page at /docs has what the document has: lines for the shell, fields, parts, answers, errors."""

import re
from html import escape, unescape
from typing import Any

from service.gateway.errors import ERRORS
from service.gateway.openapi import document
from service.gateway.page.reference import page

SPEC: dict[str, Any] = document.of_application()
PAGE = page(SPEC)
OPERATIONS = [operation for methods in SPEC["paths"].values() for operation in methods.values()]


def test_every_endpoint_has_its_lines_for_the_shell() -> None:
    lines = [sample["source"] for operation in OPERATIONS for sample in operation["x-codeSamples"]]
    assert len(lines) >= len(OPERATIONS)
    assert [line for line in lines if f"<pre>{escape(line)}</pre>" not in PAGE] == []


def test_every_field_of_a_body_and_every_parameter_is_described() -> None:
    words = [field["description"] for field in SPEC["components"]["schemas"]["ChatBody"]["properties"].values()]
    words += [one["description"] for operation in OPERATIONS for one in operation.get("parameters", ())]
    assert [text for text in words if escape(text) not in PAGE] == []


def test_every_content_part_has_a_table() -> None:
    content = SPEC["components"]["schemas"]["Message"]["properties"]["content"]
    parts = re.findall(r"#/components/schemas/(\w+)", str(content))
    assert len(set(parts)) > 8
    kinds = [SPEC["components"]["schemas"][name]["properties"]["type"]["const"] for name in set(parts)]
    assert [kind for kind in kinds if f"<h2><code>{kind}</code></h2>" not in PAGE] == []


def test_every_answer_has_an_example_and_every_error_is_shown() -> None:
    assert PAGE.count("<summary>Example</summary>") >= len(OPERATIONS) - 2  # pictures and bytes have none
    told = set(re.findall(r'"code": "(\w+)"', unescape(PAGE)))
    assert told >= set(ERRORS)
