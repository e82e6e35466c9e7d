"""The engine over OpenVINO's runner says what it says over torch's, however sequences come, go and share."""

import mmap
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.runners.torch_runner import TorchRunner
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import SamplingParams, TokenOutput
from tests.engine.conftest import CONFIG
from tests.engine.speculation.known_answers import cheap, draft_from

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")

from pandagpt_core.engine.runners.openvino_runner import OpenVinoRunner
from pandagpt_core.llm.openvino.compiled import OpenVinoLlama, compile_for_cpu
from tests.llm.openvino_here import needs

Fixture = Callable[..., Any]
SYSTEM = "You are a panda. You answer in bamboo. "


@pytest.fixture(scope="module")
def compiled() -> OpenVinoLlama:
    needs("fp32")
    torch.manual_seed(0)  # the weights of `llama`
    plain = Llama(CONFIG)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.25)
    return compile_for_cpu(plain)


@pytest.fixture
def both(make_engine: Fixture, compiled: OpenVinoLlama) -> Callable[..., tuple[Engine, Engine]]:
    def make(**sizes: Any) -> tuple[Engine, Engine]:
        by_torch: Engine = make_engine(**sizes)
        return by_torch, make_engine(OpenVinoRunner(compiled, by_torch.sizes), **sizes)

    return make


def ids(outputs: list[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


def test_the_engine_takes_the_runner_that_the_model_was_made_ready_for(
    compiled: OpenVinoLlama, llama: Llama, tokenizer: Any
) -> None:
    assert isinstance(Engine(compiled, tokenizer)._runner, OpenVinoRunner)
    assert isinstance(Engine(llama, tokenizer)._runner, TorchRunner)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"max_running": 2, "prefix_blocks": 0},
        {"prefill_chunk": 5, "max_running": 3},
        {"block_size": 7, "prefix_blocks": 20},
        {"block_size": 40, "prefix_blocks": 4},
        {"kv_blocks": 12, "reserve": "current", "block_size": 8, "prefix_blocks": 6},
    ],
)
def test_answers_are_those_over_torch(both: Fixture, drain: Fixture, prompt: Fixture, sizes: dict[str, Any]) -> None:
    engines = both(**sizes)
    outputs: list[dict[str, list[int]]] = [{}, {}]
    for engine, said in zip(engines, outputs, strict=True):
        for n in range(9):
            params = SamplingParams(max_tokens=4 + 5 * (n % 4), temperature=0.4 * (n % 3), seed=n, ignore_eos=True)
            bias = torch.full((2, 32), 0.3) if n % 4 == 3 else None
            engine.add(EngineRequest(str(n), prompt((SYSTEM if n % 2 else "") + "bamboo " * (n % 5), layer_bias=bias)
                       if n else prompt("x"), params))  # fmt: skip
            for output in engine.step():
                said.setdefault(output.sequence_id, []).append(output.token_id)
            if n == 4:
                engine.abort("3")
        for name, rest in drain(engine).items():
            said.setdefault(name, []).extend(ids(rest))
    assert outputs[0] == outputs[1]
    assert engines[0].stats() == engines[1].stats()


def test_answers_with_drafts_are_those_over_torch_without(both: Fixture, drain: Fixture, prompt: Fixture) -> None:
    """With a bias for the layers and without, alone and beside one that is read."""
    plain, _ = both()
    _, drafting = both(speculative_tokens=5, prefill_chunk=7)
    words = {"0": "panda", "1": "bamboo", "2": SYSTEM}
    said: list[dict[str, list[int]]] = []
    for engine in (plain, cheap(drafting)):
        for n, (name, text) in enumerate(words.items()):
            params = SamplingParams(max_tokens=30, temperature=0.4 * n, seed=n, ignore_eos=True)
            bias = torch.full((2, 32), 0.3) if n == 1 else None
            engine.add(EngineRequest(name, prompt(text, layer_bias=bias), params))
        said.append({name: ids(outputs) for name, outputs in drain(engine).items()})
        draft_from(drafting, {tuple(t.encode()): said[0][n] for n, t in words.items()})
    assert said[0] == said[1]
    assert drafting.stats().drafted > drafting.stats().accepted > 30


def test_kept_prefixes_of_prompt_and_answer_are_taken_up(
    both: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    by_torch, engine = both()
    engine.add(EngineRequest("a", prompt("x" * 20), greedy(30, ignore_eos=True)))
    talk = [*b"x" * 20, *ids(drain(engine)["a"]), *b" and?"]
    for each in (engine, by_torch):
        cached = each.add(EngineRequest("b", prompt(talk), greedy(9))).cached_tokens
        assert cached == (48 if each is engine else 0)
    assert ids(drain(engine)["b"]) == ids(drain(by_torch)["b"])


def test_a_resumed_answer_goes_on_as_the_whole_one_to_the_end_of_the_context(
    both: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    _, engine = both()
    params = SamplingParams(max_tokens=200, temperature=1.0, seed=3, ignore_eos=True)
    engine.add(EngineRequest("whole", prompt("panda"), params))
    whole = ids(drain(engine)["whole"])
    assert len(whole) == CONFIG.max_positions - 5
    engine.add(EngineRequest("rest", prompt("panda"), params, resume=whole[:40]))
    assert ids(drain(engine)["rest"]) == whole[40:]


def overflowing(inputs: LLMInputs) -> LLMInputs:
    """Finite, so it passes the door; the residual stream overflows after one layer and the cache holds NaN."""
    inputs.embeds[3] = 3e38
    return replace(inputs, layer_bias=torch.full((2, 32), 3e38))


def test_what_is_not_finite_stays_with_its_sequence_and_leaves_with_it(
    both: Fixture, prompt: Fixture, drain: Fixture, greedy: Fixture
) -> None:
    """Beside a neighbour; and whoever has the place after it, failed or aborted, finds nothing of it."""
    by_torch, engine = both(max_running=2, prefill_chunk=6)
    for name in ("other", "after 1", "after 2"):
        by_torch.add(EngineRequest(name, prompt(name), greedy(20)))
    wanted = drain(by_torch)
    engine.add(EngineRequest("other", prompt("other"), greedy(20)))
    said = {"other": ids(engine.step())}
    for turn, end in enumerate(("fails", "is aborted"), 1):
        engine.add(EngineRequest("bad", overflowing(prompt("xyz" * 3)), greedy()))
        outputs = engine.step()
        if end == "is aborted":
            engine.abort("bad")
        else:
            outputs += engine.step()
            assert [o.sequence_id for o in outputs if o.error] == ["bad"]
        said["other"] += [o.token_id for o in outputs if o.sequence_id == "other"]
        engine.add(EngineRequest(f"after {turn}", prompt(f"after {turn}"), greedy(20)))
        for name, rest in drain(engine).items():
            said[name] = said.get(name, []) + ids(rest)
    assert said == {name: ids(outputs) for name, outputs in wanted.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gives pages back as zeros")
def test_a_sequence_that_has_ended_takes_no_memory(
    both: Fixture, prompt: Fixture, drain: Fixture, greedy: Fixture
) -> None:
    for engine in both(max_running=1):
        keys = cached_keys(engine)
        engine.add(EngineRequest("a", prompt("x" * 90), greedy(2, ignore_eos=True)))
        engine.step()
        assert bool(keys.any())
        drain(engine)
        assert not keys.any()


def cached_keys(engine: Engine) -> torch.Tensor:
    """The first page of the first slot in the first layer, as it is in memory."""
    runner = engine._runner
    keys = runner._session.keys if isinstance(runner, OpenVinoRunner) else runner._cache.keys  # type: ignore[attr-defined]
    begin = -keys.data_ptr() % mmap.PAGESIZE // keys.itemsize
    return keys.view(-1)[begin : begin + mmap.PAGESIZE // keys.itemsize]  # type: ignore[no-any-return]


def test_a_sequence_that_never_ran_holds_nothing(
    both: Fixture, prompt: Fixture, drain: Fixture, greedy: Fixture
) -> None:
    _, engine = both(max_running=1)
    for name in ("runs", "waits"):
        engine.add(EngineRequest(name, prompt(name), greedy(3)))
    engine.step()
    engine.abort("waits")
    engine.abort("runs")
    engine.add(EngineRequest("next", prompt("next"), greedy(3)))
    assert len(drain(engine)["next"]) == 3
