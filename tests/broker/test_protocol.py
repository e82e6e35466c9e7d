"""The wire: an encoded message is decoded to an equal one, and no other bytes are taken for a message."""

import dataclasses
import math
from types import UnionType
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandagpt_core.types import Modality, SamplingParams
from service.broker import protocol
from service.broker.media_cache import CorruptArray, pack, unpack
from service.broker.protocol import (
    Announcement,
    Done,
    Embed,
    Failed,
    Fence,
    Generate,
    Logprob,
    MediaRef,
    Released,
    Started,
    Token,
    TurnPart,
    Vectors,
)
from service.broker.worker.delivery import Undecodable, read_entry
from tests.fakes import FAKE_INFO
from tests.wire import generate

words = st.text(max_size=20)
blobs = st.binary(max_size=8)
numbers = st.integers(-(2**53), 2**53)
times = st.floats(0, 4e9)
finite = st.floats(allow_nan=False, allow_infinity=False)
media = st.builds(MediaRef, modality=st.sampled_from(Modality), digest=words, blob=words, turn=numbers, weight=finite)
turns = st.builds(TurnPart, role=st.sampled_from(["user", "assistant", "system"]), text=words)
params = st.builds(
    SamplingParams,
    max_tokens=numbers,
    temperature=finite,
    seed=st.integers(0, 2**63 - 1),
    stop=st.lists(words, max_size=4).map(tuple),
    logprobs=st.none() | st.integers(0, 20),
)
common = {"id": words, "model": words, "tenant": words, "created": times, "deadline": times}
priority = st.sampled_from(["interactive", "batch"])
requests = st.builds(
    Generate,
    **common,
    turns=st.lists(turns, max_size=3),
    media=st.lists(media, max_size=3),
    params=params,
    n=st.integers(1, 8),
    priority=priority,
) | st.builds(Embed, **common, media=st.lists(media, max_size=3), priority=priority)
logprobs = st.builds(
    Logprob, token_id=numbers, piece=blobs, logprob=finite, top=st.lists(st.tuples(numbers, blobs, finite), max_size=3)
)
events = st.one_of(
    st.builds(Fence, worker=words, at=times),
    st.builds(Released),
    st.builds(Started, at=times, prompt_tokens=numbers, cached_items=numbers, cached_tokens=numbers),
    st.builds(
        Token,
        choice=st.integers(0, 7),
        token_id=numbers,
        text=words,
        finish=st.sampled_from([None, "stop", "length"]),
        logprob=st.none() | logprobs,
    ),
    st.builds(Vectors, dim=numbers, data=st.lists(st.binary(max_size=16), max_size=3)),
    st.builds(Done, at=times, first_token_at=times, completion_tokens=numbers, cancelled=st.booleans()),
    st.builds(Failed, at=times, code=words, message=words, param=st.none() | words),
)


@given(requests)
def test_a_request_arrives_as_it_was_sent(request: Generate | Embed) -> None:
    assert protocol.request_decoder.decode(protocol.encode(request)) == request


@given(st.lists(events, max_size=5))
def test_events_arrive_as_they_were_sent(sent: list[protocol.Event]) -> None:
    assert protocol.entry_decoder.decode(protocol.encode(sent)) == sent


@given(words, st.integers(1, 10**6), st.booleans())
def test_an_announcement_arrives_as_it_was_sent(worker: str, capacity: int, draining: bool) -> None:
    sent = Announcement(worker=worker, model=FAKE_INFO, capacity=capacity, draining=draining)
    assert protocol.announcement_decoder.decode(protocol.encode(sent)) == sent


DECODERS = [protocol.request_decoder, protocol.entry_decoder, protocol.announcement_decoder]


@pytest.mark.parametrize("decoder", DECODERS)
@given(raw=st.binary(max_size=200))
def test_noise_is_refused_or_a_message_and_never_anything_else(decoder: msgspec.msgpack.Decoder, raw: bytes) -> None:
    try:
        found = decoder.decode(raw)
    except protocol.UNREADABLE:
        return
    assert isinstance(found, protocol.WireMessage) or all(isinstance(event, protocol.WireMessage) for event in found)


@given(st.data())
def test_a_request_with_bytes_changed_is_read_or_refused_in_order(data: st.DataObject) -> None:
    raw = bytearray(protocol.encode(generate("a question", params=SamplingParams(max_tokens=5))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for sent in (bytes(raw), bytes(raw[:cut])):
        try:
            request = read_entry({b"request": sent}, "fake")
        except Undecodable:
            continue
        assert request.model == "fake"


def test_text_that_is_no_text_is_unreadable_too() -> None:
    raw = protocol.encode(generate("a question"))
    for name in (b"a question", b"generate.v4", b"fake"):
        with pytest.raises(Undecodable):
            read_entry({b"request": raw.replace(name, b"\xff" * len(name))}, "fake")


@given(st.binary(max_size=200))
def test_a_blob_of_noise_is_no_array(raw: bytes) -> None:
    try:
        array = unpack(raw)
    except CorruptArray:
        return
    assert array.dtype.str in ("<f2", "<f4", "<i8")
    assert array.nbytes <= len(raw)
    assert (unpack(pack(array)) == array).all() or math.isnan(float(array.sum()))


def test_every_message_is_frozen_and_has_a_version() -> None:
    unions = [*get_args(protocol.Request), *get_args(protocol.Event), Announcement]
    assert isinstance(protocol.Event, UnionType)
    for kind in unions:
        assert kind.__struct_config__.frozen
        assert str(kind.__struct_config__.tag).rpartition(".v")[2].isdecimal()
    assert dataclasses.is_dataclass(SamplingParams)
