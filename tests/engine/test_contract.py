"""The promises of every engine: our own by torch and by OpenVINO, vLLM behind our face (a stand-in, and the real one).

The real one is marked `vllm` and runs where vLLM is installed: it starts once and serves all of these tests.
"""

import importlib.util
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pandagpt_core.engine.base import TokenEngine
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.vllm.calls import engine_arguments, real_calls
from pandagpt_core.engine.vllm.engine import VllmEngine
from pandagpt_core.errors import ContextLengthExceeded, EngineError
from pandagpt_core.grammars import json_schema, regex
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.systems.merged import write_llama
from pandagpt_core.types import SamplingParams, TokenOutput
from tests.engine.conftest import EOS, PIECES, ByteTokenizer, write_tokenizer
from tests.engine.fake_vllm import fake_calls

CONTEXT = 64
WIDTH = 64
CONFIG = LlamaConfig(
    vocab=len(PIECES),
    width=WIDTH,
    layers=2,
    heads=2,
    kv_heads=1,
    head_dim=32,
    ffn=96,
    max_positions=CONTEXT,
    biases=frozenset({"q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),  # LLaMA-Adapter's
)
SIZES = {"max_model_len": CONTEXT, "max_num_seqs": 3, "max_num_batched_tokens": CONTEXT, "dtype": "float32"}
# Importing vLLM warns of much that is its own affair.
REAL_MARKS = [pytest.mark.vllm, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]
REAL = pytest.param("vllm", marks=REAL_MARKS)
ANIMAL = {"enum": ["cat", "dog"]}
SCHEMA = {"type": "object", "properties": {"n": ANIMAL}, "required": ["n"], "additionalProperties": False}
GREEDY = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)
STYLES = [
    GREEDY,
    SamplingParams(max_tokens=12, temperature=1.1, seed=5, ignore_eos=True),
    SamplingParams(max_tokens=12, temperature=0.9, top_p=0.8, top_k=40, seed=6, ignore_eos=True),
    SamplingParams(max_tokens=12, temperature=0.7, min_p=0.02, seed=7, repetition_penalty=1.2, ignore_eos=True),
    SamplingParams(max_tokens=12, temperature=0.8, seed=8, frequency_penalty=0.4, presence_penalty=0.3),
    SamplingParams(max_tokens=12, temperature=0.0, frequency_penalty=0.9, ignore_eos=True),
    SamplingParams(max_tokens=20, temperature=1.4, seed=9, grammar=json_schema(SCHEMA)),
    SamplingParams(max_tokens=12, temperature=0.0, grammar=regex("[a-z]{3}[0-9]{2,9}")),
    SamplingParams(max_tokens=12, temperature=0.9, seed=4, min_tokens=6, bad_words=("a", "e"), logit_bias=((104, 9),)),
]
Outputs = dict[str, list[TokenOutput]]
numbers = count()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a tiny random LLaMA."""
    torch.manual_seed(1)
    llama = Llama(CONFIG)
    for parameter in llama.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.25)
    folder = tmp_path_factory.mktemp("llama")
    write_llama(llama, folder, torch.float32)
    return write_tokenizer(folder)


@pytest.fixture(scope="module")
def llama(model: Path) -> Llama:
    return serve(load_llama(model))


def make_own(model: Path, llama: Llama) -> TokenEngine:
    sizes = EngineConfig(max_running=3, max_model_len=CONTEXT, kv_blocks=9, prefix_blocks=8, reserve="current")
    return Engine(llama, ByteTokenizer(), sizes)


def make_compiled(model: Path, llama: Llama) -> TokenEngine:
    compiled = pytest.importorskip("pandagpt_core.llm.openvino.compiled", reason="OpenVINO is not installed")
    return make_own(model, compiled.compile_for_cpu(load_llama(model)))


def make_stand_in(model: Path, llama: Llama) -> TokenEngine:
    arguments = engine_arguments({"model": str(model), "tokenizer": str(model), **SIZES}, {})
    return VllmEngine(arguments, fake_calls(llama), ByteTokenizer(), CONFIG)


def make_vllm(model: Path, llama: Llama) -> TokenEngine:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed (pip install -e '.[vllm]')")
    block = 32 * 2 * CONFIG.layers * CONFIG.kv_heads * CONFIG.head_dim * 4  # bytes of 32 tokens in float32
    options = {"enforce_eager": True, "kv_cache_memory_bytes": 6 * block, "block_size": 32}  # one is vLLM's own
    arguments = engine_arguments({"model": str(model), "tokenizer": str(model), **SIZES}, options)
    return VllmEngine(arguments, real_calls(), ByteTokenizer(), CONFIG)


MAKERS: dict[str, Callable[[Path, Llama], TokenEngine]] = {
    "own": make_own,
    "openvino": make_compiled,
    "stand-in": make_stand_in,
    "vllm": make_vllm,
}


@pytest.fixture(scope="module", params=["own", "openvino", "stand-in", REAL])
def engine(request: pytest.FixtureRequest, model: Path, llama: Llama) -> Iterator[TokenEngine]:
    made = MAKERS[request.param](model, llama)
    yield made
    made.close()
    made.close()


@pytest.fixture
def prompt(llama: Llama) -> Callable[..., LLMInputs]:
    """Text as bytes; "*" stands for a position that holds the row given, and no token."""

    def make(text: str, row: Tensor | None = None) -> LLMInputs:
        ids = [-1 - int(row.abs().sum() * 1e6) if char == "*" and row is not None else ord(char) for char in text]
        embeds = llama.embed([max(token, 0) for token in ids])
        if row is not None:
            embeds[[at for at, token in enumerate(ids) if token < 0]] = row
        return LLMInputs(embeds, tuple(ids))

    return make


def soft(seed: int) -> Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.3


def drain(engine: TokenEngine) -> Outputs:
    outputs: Outputs = {}
    for _ in range(20_000):
        if not engine.has_work:
            return outputs
        for output in engine.step():
            outputs.setdefault(output.sequence_id, []).append(output)
    raise AssertionError("the engine never came to rest")


def run(engine: TokenEngine, inputs: LLMInputs, params: SamplingParams, resume: tuple[int, ...] = ()) -> Any:
    name = f"request-{next(numbers)}/0"
    engine.add(EngineRequest(name, inputs, params, resume))
    return drain(engine)[name]


def ids(outputs: list[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


def text(outputs: list[TokenOutput]) -> str:
    return "".join(output.text for output in outputs)


def expected(llama: Llama, inputs: LLMInputs, params: SamplingParams) -> list[TokenOutput]:
    """Our own engine's answer, alone."""
    outputs: list[TokenOutput] = run(
        Engine(llama, ByteTokenizer(), EngineConfig(max_model_len=CONTEXT)), inputs, params
    )
    return outputs


def test_answers_are_those_of_our_engine_whoever_shares_the_batch(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    prompts = [prompt("panda"), prompt("what is *?", soft(1)), prompt("*", soft(2)), prompt("a*b*c", soft(3))]
    jobs = {f"{p}/{s}": (prompts[p], style) for p in range(len(prompts)) for s, style in enumerate(STYLES)}
    for number, (name, (inputs, params)) in enumerate(jobs.items()):
        admitted = engine.add(EngineRequest(name, inputs, params, priority="batch" if number % 2 else "interactive"))
        assert admitted.prompt_tokens == len(inputs.ids)
    outputs = drain(engine)
    for name, (inputs, params) in jobs.items():
        told = [(o.token_id, o.text, o.finish_reason) for o in outputs[name]]
        assert told == [(o.token_id, o.text, o.finish_reason) for o in expected(llama, inputs, params)], name


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_a_resumed_answer_goes_on_as_the_whole_one(
    engine: TokenEngine, prompt: Callable[..., LLMInputs], style: int
) -> None:
    inputs = prompt("what is *?", soft(1))
    whole = run(engine, inputs, STYLES[style])
    for cut in (1, 5, len(whole) - 1):
        rest = run(engine, inputs, STYLES[style], tuple(ids(whole[:cut])))
        told = [(o.token_id, o.text, o.finish_reason) for o in rest]
        assert told == [(o.token_id, o.text, o.finish_reason) for o in whole[cut:]]


def test_an_answer_keeps_its_grammar(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    schema, pattern = (replace(style, max_tokens=40) for style in STYLES[6:8])
    assert json.loads(text(run(engine, prompt("x"), schema)))["n"] in ("cat", "dog")
    assert re.fullmatch("[a-z]{3}[0-9]{2,9}", text(run(engine, prompt("x"), pattern)))


def test_equal_tokens_around_another_row_are_another_prompt(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    """Also where prefixes are kept: the row lies in the first block, and the last prompt is the first again."""
    for row in (soft(1), soft(2), soft(1)):
        inputs = prompt("a * and the same long words after it", row)
        assert ids(run(engine, inputs, GREEDY)) == ids(expected(llama, inputs, GREEDY))


def test_sequences_that_are_put_out_answer_as_if_they_never_were(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    """Three of 60 tokens where there is room for two and a half."""
    before = engine.stats().num_preemptions
    jobs = {
        str(number): (prompt("a * and thirty long words after", soft(number)), replace(STYLES[style], max_tokens=30))
        for number, style in enumerate((0, 3, 5))
    }
    for name, (inputs, params) in jobs.items():
        engine.add(EngineRequest(name, inputs, params))
    outputs = drain(engine)
    assert engine.stats().num_preemptions > before
    for name, (inputs, params) in jobs.items():
        assert ids(outputs[name]) == ids(expected(llama, inputs, params))


def test_every_token_is_one_output_and_their_texts_are_the_decoded_text(
    engine: TokenEngine, prompt: Callable[..., LLMInputs]
) -> None:
    for seed in range(4):
        params = SamplingParams(max_tokens=30, temperature=2.0, seed=seed, ignore_eos=True)
        outputs = run(engine, prompt("x"), params)
        assert len(outputs) == 30
        assert text(outputs) == ByteTokenizer().decode(ids(outputs))
        assert [o.finish_reason for o in outputs] == [None] * 29 + ["length"]


def test_a_stop_string_ends_the_answer_and_is_not_shown(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    whole = run(engine, prompt("panda"), GREEDY)
    shown = text(whole)
    stop = shown[4:6]
    outputs = run(engine, prompt("panda"), replace(GREEDY, stop=(stop,)))
    assert text(outputs) == shown[: shown.index(stop)]
    assert outputs[-1].finish_reason == "stop"
    assert not engine.has_work


def test_a_stop_token_ends_the_answer_and_is_told(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    whole = ids(run(engine, prompt("panda"), GREEDY))
    last = next(token for token in whole[2:] if token not in whole[:2])
    outputs = run(engine, prompt("panda"), replace(GREEDY, stop_token_ids=(last,)))
    assert ids(outputs) == whole[: whole.index(last) + 1]
    assert outputs[-1].finish_reason == "stop"


def test_the_end_token_ends_the_answer_unless_it_is_ignored(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    """Found by seed: an answer that holds the end token."""
    for seed in range(200):
        params = SamplingParams(max_tokens=20, temperature=2.5, seed=seed)
        if EOS in ids(expected(llama, prompt("x"), params)):
            break
    outputs = run(engine, prompt("x"), params)
    assert (outputs[-1].token_id, outputs[-1].finish_reason) == (EOS, "stop")
    assert len(run(engine, prompt("x"), replace(params, ignore_eos=True))) == 20


def test_an_answer_ends_at_the_end_of_the_context(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    assert engine.context == CONTEXT
    outputs = run(engine, prompt("x" * 60), replace(GREEDY, max_tokens=100))
    assert len(outputs) == 4
    assert outputs[-1].finish_reason == "length"


def test_an_answer_that_was_whole_already_runs_nothing(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    assert (
        engine.add(EngineRequest("whole", prompt("x"), replace(GREEDY, max_tokens=2), resume=[97, 98])).finished
        == "length"
    )
    assert not engine.has_work


def test_an_aborted_sequence_says_nothing_more_and_its_id_is_free(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    long = replace(GREEDY, max_tokens=40)
    for name in ("stays", "goes", "again"):
        engine.add(EngineRequest(name, prompt(name), long))
    early = [output for _ in range(2) for output in engine.step()]
    for name in ("goes", "again", "nobody"):
        engine.abort(name)
    engine.add(EngineRequest("again", prompt("again"), long))
    outputs = drain(engine)
    assert outputs.keys() == {"stays", "again"}
    assert [*ids([o for o in early if o.sequence_id == "stays"]), *ids(outputs["stays"])] == ids(
        expected(llama, prompt("stays"), long)
    )
    assert ids(outputs["again"]) == ids(expected(llama, prompt("again"), long))


def test_an_id_in_use_is_refused(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    engine.add(EngineRequest("one", prompt("x"), GREEDY))
    with pytest.raises(EngineError, match="already in the engine"):
        engine.add(EngineRequest("one", prompt("x"), GREEDY))
    drain(engine)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (LLMInputs(torch.zeros(0, WIDTH), ()), "empty"),
        (LLMInputs(torch.zeros(2, WIDTH + 1), (1, -1)), "expected"),
        (LLMInputs(torch.full((1, WIDTH), float("nan")), (-1,)), "not finite"),
        (LLMInputs(torch.full((1, WIDTH), float("inf")), (-1,)), "not finite"),
    ],
)
def test_a_prompt_that_would_harm_the_others_is_refused(
    engine: TokenEngine, prompt: Callable[..., LLMInputs], inputs: LLMInputs, match: str
) -> None:
    with pytest.raises(EngineError, match=match):
        engine.add(EngineRequest("bad", inputs, GREEDY))
    with pytest.raises(EngineError, match="outside of the vocabulary"):
        engine.add(EngineRequest("bad", prompt("x"), GREEDY, resume=[len(PIECES)]))
    assert len(run(engine, prompt("x"), GREEDY)) == 12


def test_a_prompt_that_leaves_no_room_is_refused(engine: TokenEngine, prompt: Callable[..., LLMInputs]) -> None:
    with pytest.raises(ContextLengthExceeded, match=r"length is 64 tokens. However, the prompt alone has 64 tokens"):
        engine.add(EngineRequest("long", prompt("x" * 64), GREEDY))
    assert len(run(engine, prompt("x" * 63), GREEDY)) == 1


def test_logprobs_are_those_of_the_model_before_any_filter(
    engine: TokenEngine, llama: Llama, prompt: Callable[..., LLMInputs]
) -> None:
    params = replace(STYLES[2], logprobs=3)
    for output, wanted in zip(run(engine, prompt("ab"), params), expected(llama, prompt("ab"), params), strict=True):
        assert output.logprob is not None
        assert wanted.logprob is not None
        assert output.logprob.piece == wanted.logprob.piece
        assert output.logprob.logprob == pytest.approx(wanted.logprob.logprob, abs=1e-3)
        assert [other[0] for other in output.logprob.top] == [other[0] for other in wanted.logprob.top]
    assert run(engine, prompt("ab"), GREEDY)[0].logprob is None


def test_an_engine_at_rest_holds_nothing_and_says_what_it_did(
    engine: TokenEngine, prompt: Callable[..., LLMInputs]
) -> None:
    before = engine.stats().prefix
    for _ in range(2):
        run(engine, prompt("a * and the same long words after it", soft(9)), GREEDY)
    deadline = time.monotonic() + 30  # figures may come a moment after the last token
    while engine.stats().prefix.hits == before.hits and time.monotonic() < deadline:
        time.sleep(0.01)
    stats = engine.stats()
    assert (stats.running, stats.waiting) == (0, 0)
    assert stats.kv_blocks_total > 0
    assert stats.prefix.queries > before.queries
    assert stats.prefix.hits > before.hits
