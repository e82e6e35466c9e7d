"""Complete answers that wait to be explained: piece by piece between the steps of others, and nothing is lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from pandagpt_core.interface import SequenceRequest
from pandagpt_core.types import Fields, SamplingParams, TokenOutput
from service.broker.gateway.client import Broker
from service.broker.protocol import Done, Failed, Generate, Token
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread
from tests.wire import collect, ends_of, generate, media, run, until


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


@pytest.mark.parametrize("number", [0, 1])
async def test_a_request_without_the_wish_is_explained_nothing(broker: Broker, valkey: Valkey, number: int) -> None:
    runtime = FakeRuntime()
    pairs = [media(index) for index in range(number)]
    with worker_thread(valkey.settings, runtime):
        request = generate(media=[part for part, _ in pairs])
        events = await run(broker, request, {part.blob: array for part, array in pairs})
    assert isinstance(events[-1], Done)
    assert runtime.explained == events[-1].explained_tokens == 0
