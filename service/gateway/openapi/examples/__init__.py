"""The table of examples in the written interface: a row for each operation id.

A new endpoint needs a row in the file of its kind: `text.py`, `vectors.py`, `sound.py`, `kept.py` or `service.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from service.gateway.openapi.examples.kept import KEPT
from service.gateway.openapi.examples.service import SERVICE
from service.gateway.openapi.examples.sound import SOUND
from service.gateway.openapi.examples.table import OperationExamples
from service.gateway.openapi.examples.text import TEXT
from service.gateway.openapi.examples.vectors import VECTORS

OPERATIONS: Mapping[str, OperationExamples] = MappingProxyType({**TEXT, **VECTORS, **SOUND, **KEPT, **SERVICE})
