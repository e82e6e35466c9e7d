"""vLLM behind our face: its own parts, with a stand-in for it. The promises of every engine: `test_contract`."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pandagpt_core.engine.constraints import GrammarCompiler
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.vllm.calls import FIXED, NAMED, VllmStats, engine_arguments, real_calls
from pandagpt_core.engine.vllm.engine import VllmEngine
from pandagpt_core.engine.vllm.sampling import CONSTRAINING, KEY, extra_args_of, keep_chosen, row_of
from pandagpt_core.errors import EngineDead, EngineError
from pandagpt_core.grammars import regex
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import SamplingParams, TokenOutput
from tests.engine.conftest import CONFIG, ByteTokenizer, write_tokenizer
from tests.engine.fake_vllm import FakeAsyncLLM, fake_calls

SIZES = {"max_model_len": 64, "max_num_seqs": 2}
GRAMMARS = GrammarCompiler(ByteTokenizer())
GREEDY = SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True)
Prompt = Callable[..., LLMInputs]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return engine_arguments({**SIZES, "tokenizer": str(folder)}, {"tensor_parallel_size": 2})


@pytest.fixture
def pair(llama: Llama, arguments: dict[str, Any]) -> Iterator[tuple[VllmEngine, FakeAsyncLLM]]:
    started: list[FakeAsyncLLM] = []
    engine = VllmEngine(arguments, fake_calls(llama, started), ByteTokenizer(), CONFIG)
    yield engine, started[0]
    engine.close()


def outputs_of(engine: VllmEngine) -> list[TokenOutput]:
    outputs: list[TokenOutput] = []
    while engine.has_work:
        outputs += engine.step()
    return outputs


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_the_adapter_relies_on_reaches_vllm_beside_the_options(
    pair: tuple[VllmEngine, FakeAsyncLLM],
) -> None:
    _, vllm = pair
    assert vllm.arguments["tensor_parallel_size"] == 2
    assert {name: vllm.arguments[name] for name in FIXED} == dict(FIXED)


@pytest.mark.parametrize("name", [*FIXED, *NAMED])
def test_an_option_that_is_decided_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"vllm_options may not hold {name}"):
        engine_arguments({}, {name: 1, "tensor_parallel_size": 2})


def test_a_missing_or_other_vllm_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("vllm") is not None:
        monkeypatch.setattr("vllm.__version__", "0.31.0")
        with pytest.raises(ValueError, match=r"needs vLLM 0\.32\.x, the one installed is 0\.31\.0"):
            real_calls()
    else:
        with pytest.raises(ValueError, match=r"install -e '\.\[vllm\]'"):
            real_calls()


def test_a_layer_bias_is_refused_and_says_what_serves_it(pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt) -> None:
    engine, _ = pair
    with pytest.raises(EngineError, match="cannot add a layer bias; serve this model with the engine own"):
        engine.add(EngineRequest("a", prompt("x", torch.zeros(2, 32)), GREEDY))
    assert not engine.has_work


def test_a_row_that_the_models_type_cannot_hold_is_refused(pair: tuple[VllmEngine, FakeAsyncLLM], llama: Llama) -> None:
    engine, _ = pair
    engine._dtype = torch.float16
    with pytest.raises(EngineError, match=r"not finite in torch\.float16"):
        engine.add(EngineRequest("a", LLMInputs(torch.full((1, 32), 1e6), (-1,)), GREEDY))


def test_an_engine_that_dies_says_so_after_its_last_tokens(
    pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt
) -> None:
    engine, vllm = pair
    engine.add(EngineRequest("a", prompt("panda"), SamplingParams(max_tokens=50, temperature=0.0, ignore_eos=True)))
    first: list[TokenOutput] = []
    while not first:  # a step waits a moment only, and may end without a token on a busy machine
        first += engine.step()
    vllm.die()
    with pytest.raises(EngineDead):
        first += outputs_of(engine)
    assert all(output.error is None for output in first)
    with pytest.raises(EngineDead):
        engine.add(EngineRequest("b", prompt("panda"), GREEDY))


def test_an_engine_that_dies_idle_has_that_to_say(pair: tuple[VllmEngine, FakeAsyncLLM]) -> None:
    engine, vllm = pair
    assert not engine.has_work
    vllm.die()
    assert engine.has_work
    with pytest.raises(EngineDead):
        engine.step()


def test_a_sequence_that_vllm_gives_up_fails_alone(pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt) -> None:
    engine, vllm = pair
    engine.add(EngineRequest("bad", prompt("panda"), SamplingParams(max_tokens=50, temperature=0.0, ignore_eos=True)))
    engine.add(EngineRequest("good", prompt("panda"), GREEDY))
    outputs = []
    while not {output.sequence_id for output in outputs} >= {"bad", "good"}:
        outputs += engine.step()
    engine._loop.call(lambda: vllm.fail("bad"))
    outputs += outputs_of(engine)
    assert [output.error for output in outputs if output.error] == ["vLLM ended the sequence: error"]
    assert len([output for output in outputs if output.sequence_id == "good"]) == 8


def test_a_request_that_vllm_refuses_fails_alone(pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt) -> None:
    engine, vllm = pair

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("too long")

    generate, vllm.generate = vllm.generate, refuse  # type: ignore[method-assign]
    engine.add(EngineRequest("bad", prompt("x"), GREEDY))
    [output] = outputs_of(engine)
    assert output.error == "vLLM failed on the sequence: ValueError"
    vllm.generate = generate  # type: ignore[method-assign]
    engine.add(EngineRequest("good", prompt("x"), GREEDY))
    assert len(outputs_of(engine)) == 8


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_an_abort_reaches_vllm_even_before_the_request_did(
    pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt, pause: float
) -> None:
    engine, vllm = pair
    vllm.held = True
    engine.add(EngineRequest("a", prompt("x"), GREEDY))
    time.sleep(pause)
    engine.abort("a")
    until(lambda: pause == 0 or bool(vllm.aborted))
    vllm.held = False
    time.sleep(0.02)
    until(lambda: not vllm._requests)
    assert not engine.has_work


def test_a_stop_string_ends_the_request_in_vllm_too(pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt) -> None:
    engine, vllm = pair
    engine.add(EngineRequest("a", prompt("panda"), SamplingParams(max_tokens=50, temperature=0.0, ignore_eos=True)))
    shown = "".join(output.text for output in outputs_of(engine))
    engine.add(
        EngineRequest(
            "a", prompt("panda"), SamplingParams(max_tokens=50, temperature=0.0, ignore_eos=True, stop=(shown[3],))
        )
    )
    outputs_of(engine)
    until(lambda: not vllm._requests)
    assert vllm.aborted


def test_several_tokens_that_come_at_once_are_told_one_by_one(
    pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt
) -> None:
    engine, _ = pair
    engine.add(EngineRequest("a", prompt("panda"), SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True)))
    until(lambda: engine._came.qsize() > 3)
    came = engine.step()
    assert len(came) > 1
    assert len(came) + len(outputs_of(engine)) == 40


def test_interactive_requests_go_before_batch_ones_there(pair: tuple[VllmEngine, FakeAsyncLLM], prompt: Prompt) -> None:
    engine, vllm = pair
    vllm.held = True
    for name, priority in (("b1", "batch"), ("b2", "batch"), ("i1", "interactive"), ("i2", "interactive")):
        engine.add(EngineRequest(name, prompt("x"), GREEDY, priority=priority))  # type: ignore[arg-type]  # of a Literal
    until(lambda: len(vllm._requests) == 4)
    vllm.held = False
    ends = [output.sequence_id for output in outputs_of(engine) if output.finish_reason]
    assert set(ends[:2]) == {"i1", "i2"}


def test_a_failed_start_leaves_no_thread(llama: Llama) -> None:
    import threading

    def start(arguments: Any, seen: Any) -> Any:
        raise ValueError("no such model")

    calls = fake_calls(llama)
    broken = type(calls)(start, calls.sampling_params, calls.delta, calls.embeds_input, calls.tokens_input)
    before = threading.active_count()
    with pytest.raises(ValueError, match="no such model"):
        VllmEngine({}, broken, ByteTokenizer(), CONFIG)
    assert threading.active_count() == before


def test_its_figures_are_summed_from_vllms_differences() -> None:
    seen = VllmStats(config=SimpleNamespace(cache_config=SimpleNamespace(num_gpu_blocks=None)))
    for hits in (0, 5):
        prefix = SimpleNamespace(queries=10, hits=hits)
        scheduler = SimpleNamespace(kv_cache_usage=0.5, num_waiting_reqs=1, prefix_cache_stats=prefix)
        seen.record(scheduler, SimpleNamespace(num_preempted_reqs=2), engine_idx=0)
    seen.record(None, None)
    assert (seen.queries, seen.hits, seen.num_preemptions, seen.waiting, seen.kv_blocks) == (20, 5, 4, 1, 0)


def test_a_plainly_greedy_request_is_left_to_vllm() -> None:
    assert extra_args_of(GREEDY, 0, []) is None
    assert row_of(SimpleNamespace(extra_args=None), [1], [], 8, GRAMMARS) is None
    assert extra_args_of(SamplingParams(temperature=0.0, presence_penalty=0.1), 0, []) is not None
    made = {"min_tokens": 1, "logit_bias": ((1, 1.0),), "bad_words": ("a",), "no_repeat_ngram_size": 2}
    for name, value in {**made, "grammar": regex("a")}.items():
        assert extra_args_of(replace(GREEDY, **{name: value}), 0, []) is not None, name  # type: ignore[arg-type]
    assert {*made, "grammar"} == set(CONSTRAINING)


def test_a_row_that_comes_back_counts_what_it_had_said_once() -> None:
    """vLLM puts a request out and takes it in again with the list of what it generated."""
    said = extra_args_of(SamplingParams(frequency_penalty=0.5), resumed=2, soft=[1])
    assert said is not None
    output = [5, 5]
    row = row_of(SimpleNamespace(extra_args={KEY: said[KEY]}), [3, 0, 4, 6], output, 8, GRAMMARS)
    assert row is not None
    assert row.history is not None
    output.append(7)
    row.catch_up()
    row.catch_up()
    assert row.history.counts.tolist() == [0, 0, 0, 0, 1, 2, 1, 1]
    assert row.history.seen.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]  # 0 stood for a row of no token
    assert len(row.tokens) == 5


def test_a_row_repeats_nothing_of_what_an_earlier_attempt_said() -> None:
    """Resumed tokens 1 2 1, then 2 would repeat the pair."""
    said = extra_args_of(SamplingParams(temperature=0.0, no_repeat_ngram_size=2), resumed=3, soft=[])
    row = row_of(SimpleNamespace(extra_args=said), [3, 1, 2, 1], [], 4, GRAMMARS)
    assert row is not None
    logits = keep_chosen(torch.tensor([[0.0, 1.0, 9.0, 2.0]]), {0: row})
    assert int(logits[0].argmax()) == 3


def test_a_row_that_is_not_finite_is_left_and_the_others_are_chosen() -> None:
    said = extra_args_of(SamplingParams(temperature=1.0, seed=1), 0, [])
    rows = {place: row_of(SimpleNamespace(extra_args=said), [1], [], 4, GRAMMARS) for place in (0, 2)}
    logits = torch.tensor([[0.0, float("nan"), 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    before = logits.clone()
    keep_chosen(logits, rows)  # type: ignore[arg-type]  # none of them is None
    assert torch.equal(logits[:2], before[:2]) or logits[0].isnan().any()
    assert torch.equal(logits[1], before[1])
    assert sorted(logits[2].tolist()) == [float("-inf")] * 3 + [0.0]
