"""Complete answers that wait to be explained: piece by piece between the steps of others, and nothing is lost."""

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from pandagpt_core.interface import SequenceRequest
from pandagpt_core.types import Fields, SamplingParams, TokenOutput
from service.broker.gateway.client import Broker
from service.broker.protocol import Done, Failed, Generate, Token
from tests.conftest import Valkey
from tests.explaining_worker import PIECE
from tests.fakes import FAKE_INFO, FakeRuntime, worker_process, worker_thread
from tests.wire import answer, collect, ends_of, generate, media, run, text_of, until


@dataclass
class Ordered(FakeRuntime):
    """Notes which of its two kinds of work came when."""

    work: list[str] = field(default_factory=list)

    def step(self) -> list[TokenOutput]:
        self.work.append("step")
        return super().step()

    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        for piece in super().explain(request, answer):
            self.work.append("piece")
            yield piece


async def explained(broker: Broker, number: int, **changed: object) -> tuple[Generate, list]:
    pairs = [media(index) for index in range(number)]
    request = generate(explain=True, media=[part for part, _ in pairs], **changed)
    return request, await run(broker, request, {part.blob: array for part, array in pairs})


async def test_each_choice_is_explained_with_its_end(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime()):
        _, events = await explained(broker, 2, n=2)
    *_, last, end = events
    assert isinstance(last, Token)
    assert last.finish is not None
    assert isinstance(end, Done)
    for fields in end.fields:
        assert fields is not None
        assert fields["contributions"]["tokens"] == 8
        assert [one["modality"] for one in fields["contributions"]["media"]] == ["image", "image"]
    assert end.explained_tokens == 2 * 20
    assert sum(isinstance(event, Token) for event in events) == 16


async def test_others_step_between_the_pieces(broker: Broker, valkey: Valkey) -> None:
    runtime = Ordered(step_delay=0.002)
    with worker_thread(valkey.settings, runtime):
        neighbour = generate(params=SamplingParams(max_tokens=400, ignore_eos=True))
        await broker.submit(neighbour)
        await until(lambda: runtime.has_work)
        _, events = await explained(broker, 3)
        assert isinstance(events[-1], Done)
        await broker.cancel(neighbour.id, neighbour.tenant)
        await collect(broker, neighbour)
    assert runtime.work.count("piece") == 4
    assert "piece piece" not in " ".join(runtime.work)


async def test_a_fault_of_the_model_costs_the_explanation_alone(broker: Broker, valkey: Valkey) -> None:
    class Failing(FakeRuntime):
        def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
            raise RuntimeError("no memory")

    with worker_thread(valkey.settings, Failing()):
        _, events = await explained(broker, 1)
    end = events[-1]
    assert isinstance(end, Done)
    assert (end.fields, end.explained_tokens) == ([], 0)
    assert sum(isinstance(event, Token) for event in events) == 8


async def test_a_model_that_cannot_explain_says_so_before_it_answers(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(info=replace(FAKE_INFO, system="unexplained"))):
        _, events = await explained(broker, 1)
    (end,) = ends_of(events)
    assert isinstance(end, Failed)
    assert (end.code, end.param) == ("invalid_request", "explain")
    assert not any(isinstance(event, Token) for event in events)


async def test_an_explanation_that_nobody_waits_for_is_not_finished(broker: Broker, valkey: Valkey) -> None:
    runtime = FakeRuntime(step_delay=0.05)
    with worker_thread(valkey.settings, runtime) as worker:
        pairs = [media(index) for index in range(200)]
        request = generate(explain=True, media=[part for part, _ in pairs], params=SamplingParams(max_tokens=1))
        await broker.submit(request, {part.blob: array for part, array in pairs})
        await until(lambda: runtime.explained)
        await broker.cancel(request.id, request.tenant)
        (end,) = ends_of(await collect(broker, request))
        assert isinstance(end, Done)
        assert end.cancelled
        await until(lambda: not worker.worker._jobs)
    assert runtime.explained < 200


async def test_a_worker_killed_while_it_explains_leaves_both_parts_to_another(broker: Broker, valkey: Valkey) -> None:
    """The worker dies in the explanation of the second choice, when all but the end of both is published."""
    takeover = {"heartbeat_s": 0.1, "lost_after_s": 0.4}
    pairs = [media(index) for index in range(2)]
    assert len(pairs) < PIECE <= 2 * len(pairs)
    request = generate(explain=True, n=2, media=[part for part, _ in pairs], deadline=time.time() + 120)
    with worker_process(valkey.settings, module="tests.explaining_worker", **takeover) as process:
        await broker.submit(request, {part.blob: array for part, array in pairs})
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"explaining\n"
        process.send_signal(signal.SIGKILL)
        with worker_thread(valkey.settings, FakeRuntime(), **takeover) as second:
            events = await collect(broker, request)
    *_, end = events
    assert isinstance(end, Done)
    assert ends_of(events) == [end]
    assert len(end.fields) == 2
    for choice, fields in enumerate(end.fields):
        assert text_of(events, choice) == answer(request, [array for _, array in pairs], choice)
        assert sum(isinstance(event, Token) and event.choice == choice for event in events) == 8
        assert fields is not None
        told = fields["contributions"]
        assert told["tokens"] == 8, "the whole answer is explained, not what the second worker wrote of it"
        assert [one["gain"] for one in told["media"]] == [8, 8]
    assert second.runtime.explained == 2 * len(pairs)
    assert second.runtime.encoded == {}
    assert second.registry.get_sample_value("pandagpt_takeovers_total") == 1
    assert (await broker.state(request.id, request.tenant)).attempts == 2


@pytest.mark.parametrize("number", [0, 1])
async def test_a_request_without_the_wish_is_explained_nothing(broker: Broker, valkey: Valkey, number: int) -> None:
    runtime = FakeRuntime()
    pairs = [media(index) for index in range(number)]
    with worker_thread(valkey.settings, runtime):
        request = generate(media=[part for part, _ in pairs])
        events = await run(broker, request, {part.blob: array for part, array in pairs})
    assert isinstance(events[-1], Done)
    assert runtime.explained == events[-1].explained_tokens == 0
