"""Weights in a file that is mapped: the numbers stay, their memory goes."""

import mmap
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino.compiled import compile_for_cpu
from pandagpt_core.llm.openvino.mapped import MappedWeights, mapped
from pandagpt_core.llm.precision import probed
from pandagpt_core.llm.quant.linear import Precision
from tests.llm.openvino_here import needs

MIB = 1 << 20


def resident(kib: int) -> int:
    """KiB in memory of the mapping of a deleted file that has this size."""
    parts = Path("/proc/self/smaps").read_text(encoding="ascii").split("VmFlags:")
    figures = [dict(re.findall(r"^(\w+): +(\d+) kB$", part, re.MULTILINE)) for part in parts if "(deleted)" in part]
    (found,) = [each for each in figures if each["Size"] == str(kib)]
    return int(found["Rss"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_numbers_stay_when_their_memory_is_given_back() -> None:
    numbers = np.random.default_rng(0).integers(-127, 128, (3 * MIB + 4097,), dtype=np.int8)
    weights = MappedWeights(13 * MIB)
    held = weights.hold(numbers)
    assert resident(13 * 1024) >= 3 * 1024
    weights.leave_memory()
    assert resident(13 * 1024) == 0
    assert np.array_equal(held, numbers)


def test_arrays_beside_one_another_keep_their_types_and_shapes() -> None:
    weights = MappedWeights(MIB)
    given = [np.arange(6, dtype=kind).reshape(2, 3) for kind in (np.int8, np.float32, np.int16)]
    held = [weights.hold(array) for array in given]
    for ours, theirs in zip(held, given, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_what_has_no_room_stays_where_it_is() -> None:
    array = np.ones(2 * MIB, np.int8)
    assert MappedWeights(MIB).hold(array) is array


def test_without_a_folder_or_room_on_the_disk_plain_memory_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert mapped(MIB) is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert isinstance(mapped(MIB), mmap.mmap)
    assert mapped(shutil.disk_usage(tmp_path).free) is None
    weights = MappedWeights(shutil.disk_usage(tmp_path).free)
    array = np.ones(8, np.float32)
    assert weights.hold(array) is array
    weights.leave_memory()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_compiled_model_answers_the_same_after_its_weights_left_the_memory(
    make_llama: Callable[..., Llama], precision: Precision
) -> None:
    needs(precision)
    llama = compile_for_cpu(make_llama(), precision)
    first = probed(llama)
    for _ in range(3):
        llama._weights.leave_memory()
        assert probed(llama).equal(first)
