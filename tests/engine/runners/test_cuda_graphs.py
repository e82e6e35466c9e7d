"""Decode graphs, recorded and replayed by a stand-in that keeps to fixed memory as CUDA does."""

import copy
import gc
import inspect
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pandagpt_core.compiled import switched
from pandagpt_core.engine.config import EngineConfig, resolve
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.runners import torch_runner as running
from pandagpt_core.engine.runners.cuda_graphs import SHORTEST, DecodeGraphs, bucket
from pandagpt_core.engine.runners.torch_runner import TorchRunner
from pandagpt_core.llm import pointwise
from pandagpt_core.llm.attention.cache import CacheShape, SlotCache
from pandagpt_core.llm.attention.flash import Packing
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.types import SamplingParams, TokenOutput
from tests.plain_attention import needs_varlen, plain

Fixture = Callable[..., Any]


class Recorder:
    """Runs the computation again at each replay, into the one output it gave out when it recorded."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.replays = 0

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        output = compute().clone()
        self.shapes.append(tuple(output.shape))

        def replay() -> None:
            self.replays += 1
            output.copy_(compute())

        return replay, output


@pytest.fixture(params=[None, plain], ids=["masks", "kernel"])
def recorded(
    make_engine: Fixture, llama: Llama, request: pytest.FixtureRequest
) -> Callable[..., tuple[Engine, Recorder]]:
    """An engine with graphs, and with attention by masks or by a kernel."""

    def make(shortest: int = SHORTEST, **sizes: Any) -> tuple[Engine, Recorder]:
        recorder = Recorder()
        runner = TorchRunner(llama, make_engine(**sizes).sizes, recorder, request.param, shortest)
        return make_engine(runner, **sizes), recorder

    return make


def ids(outputs: list[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


def test_buckets_double_up_to_the_largest() -> None:
    assert [bucket(n, 1, 6) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 4, 6, 6]
    assert [bucket(n, 256, 2048) for n in (1, 256, 257, 2048)] == [256, 256, 512, 2048]


def test_graphs_say_what_eager_steps_say(
    recorded: Fixture, make_engine: Fixture, drain: Fixture, prompt: Fixture
) -> None:
    engine, recorder = recorded(shortest=16, max_running=5)
    jobs = {
        str(n): (prompt("panda " * (n + 1)), SamplingParams(max_tokens=6 + 5 * n, seed=n, ignore_eos=True))
        for n in range(7)  # more than run at once, of several lengths: they come and go, slots are moved
    }
    for name, (inputs, params) in jobs.items():
        engine.add(EngineRequest(name, inputs, params))
    outputs = drain(engine)
    for name, (inputs, params) in jobs.items():
        eager: Engine = make_engine()
        eager.add(EngineRequest("alone", inputs, params))
        assert ids(outputs[name]) == ids(drain(eager)["alone"])
    assert {rows for rows, _ in recorder.shapes} == {1, 2, 4, 5}
    assert recorder.replays > 3 * len(recorder.shapes)


def test_recording_between_steps_leaves_running_sequences_as_they_are(
    recorded: Fixture, make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine, recorder = recorded()
    engine.add(EngineRequest("first", prompt("bamboo"), greedy(12, ignore_eos=True)))
    early = [token for _ in range(4) for token in ids(engine.step())]
    engine.add(EngineRequest("second", prompt("dog"), greedy(3, ignore_eos=True)))
    late = ids(drain(engine)["first"])
    eager: Engine = make_engine()
    eager.add(EngineRequest("alone", prompt("bamboo"), greedy(12, ignore_eos=True)))
    assert early + late == ids(drain(eager)["alone"])
    assert len(recorder.shapes) == 2


Jobs = dict[str, tuple[LLMInputs, SamplingParams]]


@pytest.fixture
def half_biased(prompt: Fixture, llama: Llama) -> Jobs:
    """Requests with and without a layer bias, of several lengths, so that they come and go in slots that move."""
    shape = (llama.config.layers, llama.config.width)
    return {
        str(n): (
            prompt("panda " * (n % 3 + 1), layer_bias=torch.full(shape, 0.3 * n) if n % 2 else None),
            SamplingParams(max_tokens=4 + 3 * (n % 4), seed=n, ignore_eos=True),
        )
        for n in range(8)
    }


def answers_after_a_plain_start(engine: Engine, jobs: Jobs, first: LLMInputs, drain: Fixture) -> dict[str, list[int]]:
    """Before the first bias, graphs have none."""
    engine.add(EngineRequest("first", first, SamplingParams(max_tokens=20, seed=1, ignore_eos=True)))
    for _ in range(4):
        engine.step()
    for name, (inputs, params) in jobs.items():
        engine.add(EngineRequest(name, inputs, params))
    outputs = drain(engine)
    return {name: ids(outputs[name]) for name in jobs}


def eager_answers(make_engine: Fixture, jobs: Jobs, drain: Fixture) -> dict[str, list[int]]:
    """Each request alone, without graphs."""
    answers = {}
    for name, (inputs, params) in jobs.items():
        eager: Engine = make_engine()
        eager.add(EngineRequest("alone", inputs, params))
        answers[name] = ids(drain(eager)["alone"])
    return answers


def test_steps_with_layer_biases_are_graphs_too_and_each_sequence_has_its_own(
    recorded: Fixture, make_engine: Fixture, drain: Fixture, prompt: Fixture, half_biased: Jobs
) -> None:
    engine, recorder = recorded(max_running=3)
    answers = answers_after_a_plain_start(engine, half_biased, prompt("bamboo"), drain)
    assert answers == eager_answers(make_engine, half_biased, drain)
    assert recorder.replays > len(recorder.shapes)


def test_compiled_functions_serve_graphs_alone(llama: Llama, make_engine: Fixture, prompt: Fixture) -> None:
    """A prompt's step is computed once: the compiler's checks would cost more than the launches they save."""
    calls: list[str] = []

    def counted(name: str) -> Callable[[Tensor], Tensor]:
        def gate(gate_up: Tensor) -> Tensor:
            calls.append(name)
            return pointwise.gate(gate_up)

        return gate

    made, eager = (replace(pointwise.EAGER, gate=counted(name)) for name in ("compiled", "eager"))
    served = copy.deepcopy(llama)
    for layer in served.llm.model.layers:  # type: ignore[attr-defined]
        layer.mlp.between = switched(made, eager)
    engine = make_engine(TorchRunner(served, make_engine(max_running=2).sizes, Recorder()), max_running=2)
    engine.add(EngineRequest("a", prompt("panda"), SamplingParams(max_tokens=2, ignore_eos=True)))
    engine.step()
    assert set(calls) == {"eager"}
    calls.clear()
    engine.step()
    assert calls[0] == "compiled"


@pytest.mark.gpu
def test_recorded_graphs_of_a_gpu_give_each_sequence_its_own_biases(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, llama: Llama, tokenizer: Any, half_biased: Jobs
) -> None:
    engine = Engine(copy.deepcopy(llama).to("cuda"), tokenizer, EngineConfig(max_running=3))
    answers = answers_after_a_plain_start(engine, half_biased, prompt("bamboo"), drain)
    assert answers == eager_answers(make_engine, half_biased, drain)


def test_memory_that_a_graph_reads_lives_as_long_as_the_graph(llama: Llama, make_engine: Fixture) -> None:
    """A graph on a device holds addresses, not tensors: freed memory holds another's numbers at a replay."""
    read: list[weakref.ref[Tensor]] = []

    def forgetful(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        held = inspect.getclosurevars(compute).nonlocals
        read.extend(weakref.ref(tensor) for tensor in (held["embeds"], held["positions"], held["bias"].index))
        return (lambda: None), compute().clone()

    sizes = make_engine().sizes
    cache = SlotCache(llama.config, CacheShape(sizes.max_running, sizes.max_model_len), llama.device)
    biases = torch.zeros(sizes.max_running, llama.config.layers, llama.config.width)
    graphs = DecodeGraphs(llama, cache, forgetful)
    with torch.inference_mode():
        graphs.run(llama.embed([1, 2]), [3, 4], biases)
    gc.collect()
    assert [tensor() is not None for tensor in read] == [True] * 3


def test_a_kernel_attends_where_prompts_are_read_and_where_a_graph_decodes(
    make_engine: Fixture, llama: Llama, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    seen: set[int] = set()

    def noted(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
        seen.add(packing.most_queries)
        return plain(q, k, v, packing)

    engine: Engine = make_engine(TorchRunner(llama, make_engine().sizes, Recorder(), noted))
    engine.add(EngineRequest("a", prompt("bamboo"), greedy(3, ignore_eos=True)))
    drain(engine)
    assert seen == {1, len("bamboo")}


def told(device: str, tokenizer: Any, drain: Fixture) -> tuple[list[float], bool]:
    """Log probabilities of the first tokens of some answers in bfloat16, and whether a kernel attended."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab=260, width=128, layers=2, heads=4, kv_heads=2, head_dim=64, ffn=96, max_positions=96)
    llm = serve(Llama(config), "bf16", device)
    runner = TorchRunner(llm, resolve(EngineConfig(max_running=4), 96, 1))
    engine = Engine(llm, tokenizer, EngineConfig(max_running=4), runner)
    for words in ("panda", "bamboo and more", "x"):
        ids_of = list(words.encode())
        inputs = LLMInputs(llm.embed(ids_of), tuple(ids_of))
        engine.add(
            EngineRequest(words, inputs, SamplingParams(max_tokens=2, temperature=0.0, logprobs=1, ignore_eos=True))
        )
    outputs = drain(engine).values()
    return [one.logprob.logprob for each in outputs for one in each], runner._kernel is not None


@pytest.mark.gpu
@needs_varlen
def test_a_gpu_says_by_torchs_kernel_what_it_says_by_masks(
    tokenizer: Any, drain: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kernel, attended = told("cuda", tokenizer, drain)
    assert attended
    monkeypatch.setattr(running, "fitting", lambda *_: None)
    by_masks, attended = told("cuda", tokenizer, drain)
    assert not attended
    assert by_kernel == pytest.approx(by_masks, abs=0.05)


def test_what_the_last_test_asks_of_a_gpu_a_cpu_can_say(tokenizer: Any, drain: Fixture) -> None:
    said, attended = told("cpu", tokenizer, drain)
    assert len(said) == 6
    assert not attended
