"""Arrays from callers: no pickle, no lie about shape, nothing but finite plain numbers."""

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits
from pandagpt_core.media.arrays.npy import read

LIMITS = Limits()


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", "<i8", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_numbers_round_trip(make, dtype, order):
    array = np.arange(12).reshape(3, 4).astype(dtype, order=order)
    assert np.array_equal(read(make.npy(array), LIMITS), array)


@pytest.mark.parametrize("dtype", ["<c8", "S4", "<U4", "<M8[s]", "?", "V8", "<f16"])
def test_other_types_are_refused(make, dtype):
    with pytest.raises(InvalidMedia):
        read(make.npy(np.zeros((2, 2), dtype)), LIMITS)


def test_a_pickle_inside_never_runs(make):
    ran = []

    class Trap:
        def __reduce__(self):
            return ran.append, (1,)

    data = make.npy(np.array([Trap()], dtype=object))
    with pytest.raises(InvalidMedia):
        read(data, LIMITS)
    assert not ran


@pytest.mark.parametrize("shape", [(10**9, 10**9), (2**63,), (2**31, 2), (16_000_001,)])
def test_a_giant_shape_is_refused_by_the_limit(make, shape):
    with pytest.raises(InvalidMedia, match="the limit is 16000000"):
        read(make.npy_claiming(shape), LIMITS)


@pytest.mark.parametrize("shape", [(7,), (9,), (3, 3), ()])
def test_a_shape_that_does_not_match_the_bytes_is_refused(make, shape):
    with pytest.raises(InvalidMedia, match="does not match"):
        read(make.npy_claiming(shape), LIMITS)


@pytest.mark.parametrize("shape", [(0,), (8, 0), (-8, -1), (-1,)])
def test_empty_and_negative_shapes_are_refused(make, shape):
    with pytest.raises(InvalidMedia):
        read(make.npy_claiming(shape), LIMITS)


def test_a_structured_type_is_refused(make):
    with pytest.raises(InvalidMedia):
        read(make.npy(np.zeros(4, dtype=[("a", "<f4"), ("b", "<i4")])), LIMITS)


def test_a_header_of_code_or_of_megabytes_is_refused():
    for header in (b"__import__('os').getpid()\n", b"(" * 3000 + b"\n", b" " * 60_000 + b"\n"):
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        with pytest.raises(InvalidMedia):
            read(data, LIMITS)


def test_later_header_versions_are_refused(make):
    data = bytearray(make.npy(np.zeros(8)))
    data[6] = 3
    with pytest.raises(InvalidMedia):
        read(bytes(data), LIMITS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(make, bad):
    with pytest.raises(InvalidMedia, match="NaN or infinity"):
        read(make.npy(np.array([1.0, bad])), LIMITS)
