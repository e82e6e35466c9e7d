"""Bits of a contestant's weights, so that 8 bits are compared with 8, and 4 with 4."""

from collections.abc import Mapping
from types import MappingProxyType

# By the precision as a contestant's name or itself states it. Scales of groups are not counted.
BITS: Mapping[str, int] = MappingProxyType(
    {
        "fp32": 32,
        "f32": 32,
        "fp16": 16,
        "f16": 16,
        "bf16": 16,
        "fp8": 8,
        "int8": 8,
        "q8_0": 8,
        "int4": 4,
        "q4_1": 4,
    }
)


def bits(name: str, facts: Mapping[str, object]) -> int | None:
    """By the precision that it chose when it started, else by the one in its name; None where neither is known."""
    return BITS.get(str(facts.get("precision", name.rpartition(":")[2])))
