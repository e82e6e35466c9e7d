"""A job that goes on where an earlier attempt stopped."""

import msgspec
from prometheus_client import CollectorRegistry

from pandagpt_core.types import SamplingParams, TokenOutput
from service.broker.event_log import EventHistory, EventWriter
from service.broker.protocol import NO_TOKEN, Done, Fence, Started, Token
from service.broker.worker.delivery import Delivery
from service.metrics import WorkerMetrics
from service.worker.generation.engine_driver import EngineDriver
from service.worker.jobs import Job
from tests.fakes import FakeRuntime
from tests.wire import generate


def delivery(events: list[Started | Token], max_tokens: int) -> Delivery:
    request = generate("what is this", params=SamplingParams(max_tokens=max_tokens))
    history = EventHistory((Fence(worker="lost"), *events, Fence(worker="this")))
    return Delivery(request, "interactive", b"1-0", EventWriter("events", 2), history)


def said(count: int) -> list[Started | Token]:
    """The first tokens of the fake model's answer, as the lost worker published them."""
    runtime = FakeRuntime()
    job = Job.of(delivery([], max_tokens=count + 1))
    room = EngineDriver(runtime, WorkerMetrics.on(CollectorRegistry()))
    room.offer(job)
    while len(job.choices[0].tokens) < count:
        room.step()
    return [
        Started(prompt_tokens=3),
        *(Token(choice=0, token_id=token, text="") for token in job.choices[0].tokens[:count]),
    ]


def test_an_answer_that_was_complete_but_for_its_end_gets_the_end() -> None:
    job = Job.of(delivery(said(2), max_tokens=2))
    room = EngineDriver(FakeRuntime(), WorkerMetrics.on(CollectorRegistry()))
    room.offer(job)
    assert job.ended
    assert job.choices[0].finished
    assert len(job.choices[0].tokens) == 2


def test_an_end_without_a_token_is_no_token_to_resume_from() -> None:
    events = [*said(2), Token(choice=0, token_id=NO_TOKEN, text="", finish="length")]
    job = Job.of(delivery(events, max_tokens=2))
    assert job.choices[0].finished
    assert NO_TOKEN not in job.choices[0].tokens
    room = EngineDriver(FakeRuntime(), WorkerMetrics.on(CollectorRegistry()))
    room.offer(job)
    assert job.ended
    assert job.outcome == "done"


def test_an_answer_that_was_cut_off_goes_on() -> None:
    job = Job.of(delivery(said(2), max_tokens=3))
    room = EngineDriver(FakeRuntime(), WorkerMetrics.on(CollectorRegistry()))
    room.offer(job)
    assert not job.ended
    room.step()
    assert len(job.choices[0].tokens) == 3
    assert job.ended


def test_the_fields_of_each_answer_come_with_the_end_also_after_a_loss() -> None:
    def parse(text: str) -> dict[str, int] | None:
        return {"letters": len(text)} if len(text) > 3 else None

    request = msgspec.structs.replace(generate("what", params=SamplingParams(max_tokens=2)), n=2)
    past = [
        Token(choice=0, token_id=1, text=" is"),
        Token(choice=0, token_id=2, text=" it", finish="stop"),
        Token(choice=1, token_id=3, text="no"),
    ]
    job = Job.of(Delivery(request, "interactive", b"1-0", EventWriter("events", 2), EventHistory(tuple(past))), parse)
    job.accept(TokenOutput(f"{job.id}/1", 4, "", finish_reason="stop"))
    [done] = [event for event in job.delivery.writer._waiting if isinstance(event, Done)]
    assert done.fields == [{"letters": 6}, None]


def test_a_parser_that_fails_loses_no_answer() -> None:
    def parse(text: str) -> dict[str, int] | None:
        raise ValueError("a fault")

    job = Job.of(delivery([], max_tokens=1), parse)
    job.accept(TokenOutput(f"{job.id}/0", 4, "x", finish_reason="length"))
    assert job.outcome == "done"
