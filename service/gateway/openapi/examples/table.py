"""The types of the table of examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestExample:
    """A request that works as it stands. `summary` describes it.

    body: JSON, or the fields of a form, where a file's field holds the name of a file to send. `query` goes into the
    address.
    """

    summary: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class OperationExamples:
    """Of one endpoint: requests that work, the JSON of an answer, the event of a stream, a text.

    answer: None where the endpoint gives no JSON. event: the fields of one server-sent event.
    """

    requests: tuple[RequestExample, ...]
    answer: Mapping[str, Any] | None = None
    event: Mapping[str, str] | None = None
    text: str | None = None
