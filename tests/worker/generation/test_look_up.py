"""Searches in a large cache of pictures: piece by piece between the steps of others, before a request enters."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import Found, SamplingParams, TokenOutput
from service.broker.gateway.client import Broker
from service.broker.protocol import Done, Failed, Generate
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, worker_thread
from tests.wire import answer, collect, ends_of, generate, media, run, text_of, until

PIECES = 5
GREEDY = SamplingParams(max_tokens=8)


@dataclass
class Ordered(FakeRuntime):
    """Notes which of its kinds of work came when, and what was found for those that entered."""

    work: list[str] = field(default_factory=list)
    entered: list[Found] = field(default_factory=list)

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        for piece in super().look_up(request):
            self.work.append("piece")
            yield piece

    def admit(self, request: SequenceRequest) -> Admitted:
        self.entered.append(request.found)
        return super().admit(request)

    def step(self) -> list[TokenOutput]:
        self.work.append("step")
        return super().step()


def with_picture(text: str = "what is this", **changed: object) -> tuple[Generate, dict]:
    part, array = media(1)
    return generate(text, media=[part], **changed), {part.blob: array}


async def test_others_step_between_the_pieces(broker: Broker, valkey: Valkey) -> None:
    runtime = Ordered(step_delay=0.002, look_up_pieces=PIECES)
    with worker_thread(valkey.settings, runtime):
        neighbour = generate(params=SamplingParams(max_tokens=400, ignore_eos=True))
        await broker.submit(neighbour)
        await until(lambda: runtime.has_work)
        request, arrays = with_picture()
        events = await run(broker, request, arrays)
        assert text_of(events) == answer(request, list(arrays.values()))
        await broker.cancel(neighbour.id, neighbour.tenant)
        await collect(broker, neighbour)
    assert runtime.work.count("piece") == PIECES + 1
    assert "piece piece piece" not in " ".join(runtime.work)  # the first comes as it is looked whether there is any


async def test_all_choices_enter_with_what_was_found_once(broker: Broker, valkey: Valkey) -> None:
    runtime = Ordered(look_up_pieces=PIECES)
    with worker_thread(valkey.settings, runtime):
        request, arrays = with_picture(n=3)
        events = await run(broker, request, arrays)
    assert isinstance(events[-1], Done)
    assert runtime.looked_up == PIECES
    assert [list(found) for found in runtime.entered] == [[(b"image-1", 1)]] * 3


async def test_a_fault_of_a_search_ends_its_request_alone(broker: Broker, valkey: Valkey) -> None:
    with worker_thread(valkey.settings, FakeRuntime(look_up_pieces=PIECES)):
        faulty, arrays = with_picture("FAULT-SEARCH")
        (end,) = ends_of(await run(broker, faulty, arrays))
        assert isinstance(end, Failed)
        request, arrays = with_picture()
        assert isinstance((await run(broker, request, arrays))[-1], Done)


async def test_a_search_that_nobody_waits_for_is_not_finished(broker: Broker, valkey: Valkey) -> None:
    runtime = FakeRuntime(step_delay=0.02, look_up_pieces=500)
    with worker_thread(valkey.settings, runtime) as worker:
        request, arrays = with_picture()
        await broker.submit(request, arrays)
        await until(lambda: runtime.looked_up)
        await broker.cancel(request.id, request.tenant)
        (end,) = ends_of(await collect(broker, request))
        assert isinstance(end, Done)
        assert end.cancelled
        await until(lambda: not worker.worker._jobs)
    assert runtime.looked_up < 500
