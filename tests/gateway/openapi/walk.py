"""The operations of an OpenAPI document, one by one."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def operations(spec: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation
