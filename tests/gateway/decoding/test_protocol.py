"""The pipe of a decoding child: each side reads the other's headers alone, and nothing that runs code."""

import pickle

import msgspec
import pytest

from pandagpt_core.media.notes import Notes
from service.gateway.decoding.protocol import (
    LENGTH,
    Decoded,
    DecodeJob,
    DecoderReady,
    Header,
    Refused,
    from_child,
    pack,
    to_child,
)
from tests.security.evil import Evil

JOB = DecodeJob(recipe="imagebind-image-v1", params={"unit": "m", "rate_hz": 50.0}, size=3, cpu_s=1.5)
ANSWERS = [
    DecoderReady(enforced=["memory"], absent={"landlock": "OSError"}),
    Decoded(dtype="<f4", shape=[1, 2], size=8, notes=Notes(warnings=["dark"])),
    Refused(code="invalid_media", message="cannot be decoded", param="unit"),
]


def body(header: Header) -> bytes:
    packed = pack(header)
    assert LENGTH.unpack(packed[: LENGTH.size]) == (len(packed) - LENGTH.size,)
    return packed[LENGTH.size :]


def test_headers_come_back_as_they_were() -> None:
    assert to_child.decode(body(JOB)) == JOB
    assert [from_child.decode(body(one)) for one in ANSWERS] == ANSWERS


@pytest.mark.parametrize("header", ANSWERS)
def test_a_child_takes_no_answer_for_a_job(header: Header) -> None:
    with pytest.raises(msgspec.ValidationError):
        to_child.decode(body(header))


def test_a_gateway_takes_no_job_for_an_answer() -> None:
    with pytest.raises(msgspec.ValidationError):
        from_child.decode(body(JOB))


@pytest.mark.parametrize("changed", [{"type": "other"}, {"size": "3"}, {"shape": [1.5]}, {"dtype": None}])
def test_a_field_of_another_type_is_refused(changed: dict[str, object]) -> None:
    fields = msgspec.to_builtins(ANSWERS[1]) | changed
    with pytest.raises(msgspec.ValidationError):
        from_child.decode(msgspec.msgpack.encode(fields))


def test_a_pickle_is_refused_and_never_run(tmp_path) -> None:
    planted = pickle.dumps(Evil(tmp_path / "ran"))
    for decoder in (to_child, from_child):
        with pytest.raises(msgspec.DecodeError):
            decoder.decode(planted)
    assert not (tmp_path / "ran").exists()
