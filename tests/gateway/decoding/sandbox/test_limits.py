"""Limits of a child: memory, nothing written, nothing opened any more."""

import sys

import pytest

from tests.gateway.decoding.sandbox.processes import restricted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems count address space otherwise")


def test_memory_beyond_the_limit_is_refused_inside() -> None:
    tries = "[outcome(lambda: len(bytearray(1 << 20))), outcome(lambda: len(bytearray(1 << 31)))]"
    assert restricted("limits.memory(1 << 30)", tries) == [1 << 20, "MemoryError"]


def test_nothing_is_written_to_a_file() -> None:
    step = "import tempfile; file = tempfile.TemporaryFile(buffering=0); limits.write_nothing()"
    assert restricted(step, "outcome(lambda: file.write(b'x'))") == "OSError"


def test_no_descriptor_is_opened_and_those_at_hand_work() -> None:
    step = "held = os.pipe(); limits.open_nothing()"
    tries = "[outcome(os.pipe), os.write(held[1], b'x'), os.read(held[0], 1).decode()]"
    assert restricted(step, tries) == ["OSError", 1, "x"]
