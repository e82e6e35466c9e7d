"""Prompts that come back with log probabilities: computed piece by piece between the steps of other requests."""

from dataclasses import dataclass, field, replace

from pandagpt_core.types import SamplingParams, TokenOutput
from service.broker.gateway.client import Broker
from service.broker.protocol import Done, Failed, Generate, Prompt
from tests.conftest import Valkey
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread
from tests.wire import collect, ends_of, generate, run, until

SCORED = SamplingParams(max_tokens=2, logprobs=1)


@dataclass
class Ordered(FakeRuntime):
    """Notes which of its two kinds of work came when: a step of the engine, or a piece of a prompt."""

    work: list[str] = field(default_factory=list)

    def step(self) -> list[TokenOutput]:
        self.work.append("step")
        return super().step()

    def prompt_tokens(self, prompt, top):  # type: ignore[no-untyped-def]
        for piece in super().prompt_tokens(prompt, top):
            self.work.append("piece")
            yield piece


def echoing(*prompts: str, **changed: object) -> Generate:
    return generate(prompts=list(prompts), echo=True, **{"params": SCORED, **changed})


async def test_others_step_between_the_pieces_of_a_prompt(broker: Broker, valkey: Valkey) -> None:
    runtime = Ordered(step_delay=0.002)
    with worker_thread(valkey.settings, runtime):
        neighbour = generate(params=SamplingParams(max_tokens=400, ignore_eos=True))
        await broker.submit(neighbour)
        await until(lambda: runtime.has_work)
        events = await run(broker, echoing("one prompt", "and another"))
        assert isinstance(events[-1], Done)
        await broker.cancel(neighbour.id, neighbour.tenant)
        await collect(broker, neighbour)
    prompts = [event for event in events if isinstance(event, Prompt)]
    assert [b"".join(piece.piece for piece in one.tokens) for one in prompts] == [b"one prompt", b"and another"]
    assert runtime.work.count("piece") == runtime.scored == len("one prompt") + len("and another") + 2
    assert "piece piece" not in " ".join(runtime.work)


async def test_prompts_that_are_longer_than_one_context_together_are_refused(broker: Broker, valkey: Valkey) -> None:
    runtime = FakeRuntime(info=replace(FAKE_INFO, max_model_len=32))
    with worker_thread(valkey.settings, runtime):
        (end,) = ends_of(await run(broker, echoing("x" * 20, "y" * 20)))
        assert isinstance(end, Failed)
        assert (end.code, end.param) == ("context_length_exceeded", "prompt")
        assert "32 tokens together; these have 42" in end.message
        assert runtime.scored == 0
        without = echoing("x" * 20, "y" * 20, params=SamplingParams(max_tokens=2))
        assert isinstance((await run(broker, without))[-1], Done)


async def test_a_prompt_that_nobody_waits_for_is_not_scored_to_its_end(broker: Broker, valkey: Valkey) -> None:
    runtime = FakeRuntime(step_delay=0.01)
    with worker_thread(valkey.settings, runtime) as worker:
        request = echoing("x" * 1900, deadline=generate().created + 600)
        await broker.submit(request)
        await until(lambda: runtime.scored)
        await broker.cancel(request.id, request.tenant)
        (end,) = ends_of(await collect(broker, request))
        assert isinstance(end, Done)
        assert end.cancelled
        await until(lambda: not worker.worker._jobs)
        assert not worker.worker._engine.scoring.waiting
    assert runtime.scored < 1900


async def test_a_fault_of_the_model_in_a_prompt_ends_its_request_alone(broker: Broker, valkey: Valkey) -> None:
    class Failing(FakeRuntime):
        def prompt_tokens(self, prompt, top):  # type: ignore[no-untyped-def]
            yield from super().prompt_tokens(prompt, top)
            if "bad" in str(prompt):
                raise RuntimeError("the model failed")

    with worker_thread(valkey.settings, Failing()):
        bad, good = echoing("good", "bad"), echoing("good")
        await broker.submit(bad)
        await broker.submit(good)
        failed = await collect(broker, bad)
        assert isinstance(failed[-1], Failed)
        assert failed[-1].code == "internal_error"
        assert isinstance((await collect(broker, good))[-1], Done)
