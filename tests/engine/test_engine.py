"""The engine's promises: batching, chunking, streaming and resuming change no answer."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.errors import ContextLengthExceeded, EngineError, InvalidRequest
from pandagpt_core.grammars import regex
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import SamplingParams, TokenOutput

Fixture = Callable[..., Any]

PROMPTS = ["panda", "a", "what is in the image?", "### Human: hi\n### Assistant:", "xyz" * 9]
STYLES = [
    SamplingParams(max_tokens=14, temperature=0.0, ignore_eos=True),
    SamplingParams(max_tokens=14, temperature=1.1, seed=5, ignore_eos=True),
    SamplingParams(max_tokens=14, temperature=0.9, top_p=0.8, top_k=40, seed=6, ignore_eos=True),
    SamplingParams(max_tokens=14, temperature=0.7, min_p=0.02, seed=7, repetition_penalty=1.2, ignore_eos=True),
    SamplingParams(max_tokens=14, temperature=0.8, seed=8, frequency_penalty=0.4, presence_penalty=0.3),
]


def ids(outputs: list[TokenOutput]) -> list[int]:
    return [output.token_id for output in outputs]


def text(outputs: list[TokenOutput]) -> str:
    return "".join(output.text for output in outputs)


def alone(make_engine: Fixture, drain: Fixture, inputs: Any, params: SamplingParams) -> list[TokenOutput]:
    engine: Engine = make_engine()
    engine.add(EngineRequest("alone", inputs, params))
    outputs: list[TokenOutput] = drain(engine)["alone"]
    return outputs


def test_cached_decoding_chooses_what_the_whole_sequence_gives(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, llama: Llama, greedy: Fixture
) -> None:
    for words in PROMPTS:
        got = alone(make_engine, drain, prompt(words), greedy(16, ignore_eos=True, logprobs=0))
        known = list(words.encode())
        for output in got:
            logprobs = torch.log_softmax(llama(llama.embed([known]))[0, -1], dim=-1)
            assert output.token_id == int(logprobs.argmax())
            assert output.logprob is not None
            assert output.logprob.logprob == pytest.approx(logprobs.max().item(), abs=1e-4)
            known.append(output.token_id)


@pytest.mark.parametrize("sizes", [{}, {"max_running": 2}, {"prefill_chunk": 3}, {"kv_blocks": 6, "block_size": 16}])
def test_neighbours_change_no_answer(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, sizes: dict[str, int]
) -> None:
    engine: Engine = make_engine(**sizes)
    jobs = {f"{words}/{n}": (prompt(words), params) for words in PROMPTS for n, params in enumerate(STYLES)}
    for n, (name, (inputs, params)) in enumerate(jobs.items()):
        engine.add(EngineRequest(name, inputs, params))
        if n % 3 == 0:
            engine.step()  # they come and go at different times
    later = drain(engine)
    for name, (inputs, params) in jobs.items():
        expected = ids(alone(make_engine, drain, inputs, params))
        assert ids(later[name]) == expected[len(expected) - len(later[name]) :]
        assert later[name][-1].finish_reason is not None


@pytest.mark.parametrize("params", STYLES)
def test_a_resumed_answer_goes_on_as_the_whole_one(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, params: SamplingParams
) -> None:
    whole = alone(make_engine, drain, prompt("panda"), params)
    for cut in range(1, len(whole)):
        engine: Engine = make_engine()
        admitted = engine.add(EngineRequest("again", prompt("panda"), params, resume=ids(whole[:cut])))
        rest = drain(engine)["again"]
        assert admitted.prompt_tokens == 5
        assert [(o.token_id, o.text, o.finish_reason) for o in rest] == [
            (o.token_id, o.text, o.finish_reason) for o in whole[cut:]
        ]


def test_resuming_a_finished_answer_runs_nothing_and_says_so(scripted: Fixture, prompt: Fixture) -> None:
    engine, _ = scripted({"a": "abc", "b": "abc"})
    assert (
        engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=2), resume=[97, 98])).finished == "length"
    )
    assert engine.add(EngineRequest("b", prompt("x"), SamplingParams(stop=("b",)), resume=[97, 98])).finished == "stop"
    assert not engine.has_work


def test_a_resumed_answer_still_sees_a_stop_string_that_began_before(
    scripted: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    script = "yes\n###more"
    for cut in range(1, 7):
        engine, _ = scripted({"a": script})
        engine.add(EngineRequest("a", prompt("x"), SamplingParams(stop=("\n###",)), resume=list(script[:cut].encode())))
        outputs = drain(engine)["a"]
        assert script[:cut].rstrip("\n#") + text(outputs) == "yes"
        assert outputs[-1].finish_reason == "stop"


def test_reading_a_prompt_in_chunks_changes_no_answer(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    whole = alone(make_engine, drain, prompt("bamboo" * 5), greedy(logprobs=4))
    for chunk in (1, 2, 7, 29):
        engine: Engine = make_engine(prefill_chunk=chunk)
        engine.add(EngineRequest("a", prompt("bamboo" * 5), greedy(logprobs=4)))
        outputs = drain(engine)["a"]
        assert ids(outputs) == ids(whole)
        assert outputs[0].logprob.logprob == pytest.approx(whole[0].logprob.logprob, abs=1e-4)


def test_a_seed_names_its_answer(make_engine: Fixture, drain: Fixture, prompt: Fixture) -> None:
    answers = {
        seed: tuple(ids(alone(make_engine, drain, prompt("panda"), SamplingParams(max_tokens=9, seed=seed))))
        for seed in (1, 2, 1 + 2**64)
    }
    assert answers[1] != answers[2]
    assert answers[1] == answers[1 + 2**64]


def test_streamed_text_is_the_decoded_text(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, tokenizer: Any
) -> None:
    for seed in range(20):  # random bytes: stray ones, incomplete ones, control tokens
        outputs = alone(make_engine, drain, prompt("x"), SamplingParams(max_tokens=30, temperature=3.0, seed=seed))
        assert text(outputs) == tokenizer.decode(ids(outputs))


@pytest.mark.parametrize(
    ("script", "stop", "shown"),
    [
        ("yes\n### Human", ("\n###",), "yes"),
        ("###", ("#",), ""),
        ([97, 257, 98], ("#",), "a"),  # one token "##" holds the stop and more
        ([97, 258, 98], ("bb",), "aa"),  # "ab" + "b"
        ("a🐼b", ("🐼",), "a"),
        ("a#b#", ("##",), "a#b#"),
        ("aaaX", ("aab", "X"), "aaa"),
        ("a\u0301\u0301!", ("\u0301!",), "a\u0301"),
    ],
)
def test_a_stop_string_ends_the_text_before_itself(
    scripted: Fixture, prompt: Fixture, drain: Fixture, script: Any, stop: tuple[str, ...], shown: str
) -> None:
    length = len(script.encode()) if isinstance(script, str) else len(script)
    engine, _ = scripted({"a": script})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=length, stop=stop)))
    outputs = drain(engine)["a"]
    assert text(outputs) == shown
    assert outputs[-1].finish_reason == ("length" if shown == script else "stop")


def test_text_that_may_become_a_stop_string_is_not_shown_early(
    scripted: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    engine, _ = scripted({"a": "x##y###"})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(stop=("###",))))
    assert [o.text for o in drain(engine)["a"]] == ["x", "", "", "##y", "", "", ""]


@pytest.mark.parametrize("ignore_eos", [False, True])
def test_the_end_token_ends_unless_ignored(
    scripted: Fixture, prompt: Fixture, drain: Fixture, ignore_eos: bool
) -> None:
    engine, _ = scripted({"a": [97, 256, 98]})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=3, ignore_eos=ignore_eos)))
    outputs = drain(engine)["a"]
    assert (text(outputs), outputs[-1].finish_reason) == (("ab", "length") if ignore_eos else ("a", "stop"))


def test_a_stop_token_ends_the_text_before_itself_and_is_reported(
    scripted: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    engine, _ = scripted({"a": [97, 35, 257, 98]})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(stop_token_ids=(257,), stop=("###",), ignore_eos=True)))
    outputs = drain(engine)["a"]
    assert ids(outputs) == [97, 35, 257]
    assert text(outputs) == "a#"
    assert outputs[-1].finish_reason == "stop"


def test_each_token_gives_one_output_even_within_a_character(
    scripted: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    engine, _ = scripted({"a": "🐼!"})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=5)))
    assert [o.text for o in drain(engine)["a"]] == ["", "", "", "🐼", "!"]


def test_an_incomplete_character_at_the_length_limit_is_replaced(
    scripted: Fixture, prompt: Fixture, drain: Fixture
) -> None:
    engine, _ = scripted({"a": "🐼"})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=2)))
    assert text(drain(engine)["a"]) == "\ufffd\ufffd"


def test_an_answer_ends_at_the_end_of_the_context(make_engine: Fixture, drain: Fixture, prompt: Fixture) -> None:
    engine: Engine = make_engine(max_model_len=20)
    engine.add(EngineRequest("a", prompt("x" * 15), SamplingParams(max_tokens=100, ignore_eos=True)))
    outputs = drain(engine)["a"]
    assert len(outputs) == 5
    assert outputs[-1].finish_reason == "length"


def test_a_prompt_that_leaves_no_room_is_refused(make_engine: Fixture, drain: Fixture, prompt: Fixture) -> None:
    engine: Engine = make_engine(max_model_len=20)
    with pytest.raises(ContextLengthExceeded, match=r"length is 20 tokens. However, the prompt alone has 20 tokens"):
        engine.add(EngineRequest("a", prompt("x" * 20), SamplingParams()))
    engine.add(EngineRequest("b", prompt("x" * 19), SamplingParams()))
    assert len(drain(engine)["b"]) == 1


def test_the_models_own_context_is_a_limit_too(make_engine: Fixture, prompt: Fixture) -> None:
    with pytest.raises(ContextLengthExceeded, match="length is 96 tokens"):
        make_engine(max_model_len=4096).add(EngineRequest("a", prompt("x" * 96), SamplingParams()))


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_an_aborted_sequence_gives_its_memory_back_and_no_more_output(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture, steps: int
) -> None:
    engine: Engine = make_engine(max_running=3)
    for name in ("a", "b", "c", "waiting"):
        engine.add(EngineRequest(name, prompt(name * 3), greedy(20, ignore_eos=True)))
    expected = ids(alone(make_engine, drain, prompt("c" * 3), greedy(20, ignore_eos=True)))
    seen = [output for _ in range(steps) for output in engine.step()]
    for name in ("a", "waiting", "nobody"):
        engine.abort(name)
    rest = drain(engine)
    assert rest.keys() == {"b", "c"}
    assert [o.token_id for o in seen if o.sequence_id == "c"] + ids(rest["c"]) == expected
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)


def test_a_full_cache_makes_sequences_wait_and_all_come_to_their_end(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine: Engine = make_engine(kv_blocks=5, block_size=8, max_running=8)
    for n in range(6):
        engine.add(EngineRequest(str(n), prompt("panda"), greedy(10, ignore_eos=True)))  # 2 blocks each
    engine.step()
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.kv_blocks_used, stats.kv_blocks_total) == (2, 4, 4, 5)
    outputs = drain(engine)
    assert all(len(outputs[str(n)]) >= 9 and outputs[str(n)][-1].finish_reason == "length" for n in range(6))


def test_sequences_that_are_put_out_answer_as_if_they_never_were(
    make_engine: Fixture, drain: Fixture, prompt: Fixture
) -> None:
    for prefix_blocks in (0, 8):
        engine: Engine = make_engine(kv_blocks=9, block_size=8, reserve="current", prefix_blocks=prefix_blocks)
        jobs = {f"{words}/{n}": (prompt(words), params) for words in PROMPTS for n, params in enumerate(STYLES)}
        for n, (name, (inputs, params)) in enumerate(jobs.items()):
            engine.add(EngineRequest(name, inputs, params, priority="batch" if n % 2 else "interactive"))
        outputs = drain(engine)
        assert engine.stats().num_preemptions > 0
        for name, (inputs, params) in jobs.items():
            expected = alone(make_engine, drain, inputs, params)
            assert ids(outputs[name]) == ids(expected)
            assert text(outputs[name]) == text(expected)


def test_logprobs_name_the_tokens_and_their_alternatives(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, greedy: Fixture, tokenizer: Any
) -> None:
    for output in alone(make_engine, drain, prompt("panda"), greedy(6, logprobs=3)):
        report = output.logprob
        assert report.token_id == output.token_id == report.top[0][0]
        assert report.logprob == report.top[0][2] >= report.top[1][2] >= report.top[2][2]
        assert [name for _, name, _ in report.top] == [tokenizer.token_bytes(n) for n, _, _ in report.top]


def test_a_layer_bias_belongs_to_its_sequence_alone(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, llama: Llama, greedy: Fixture
) -> None:
    bias = torch.randn(2, 32)
    engine: Engine = make_engine(prefill_chunk=3)
    engine.add(EngineRequest("plain", prompt("panda"), greedy(8, ignore_eos=True)))
    engine.add(EngineRequest("biased", prompt("panda", layer_bias=bias), greedy(8, ignore_eos=True)))
    outputs = drain(engine)
    assert ids(outputs["plain"]) == ids(alone(make_engine, drain, prompt("panda"), greedy(8, ignore_eos=True)))
    known = list(b"panda")
    for token_id in ids(outputs["biased"]):
        logits = llama(llama.embed([known]), layer_bias=bias[None])[0, -1]
        assert token_id == int(logits.argmax())
        known.append(token_id)
    assert ids(outputs["biased"]) != ids(outputs["plain"])


def test_an_id_in_use_is_refused_and_free_again_after(scripted: Fixture, prompt: Fixture, drain: Fixture) -> None:
    engine, _ = scripted({"a": "ab"})
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=2)))
    with pytest.raises(EngineError, match="already in the engine"):
        engine.add(EngineRequest("a", prompt("x"), SamplingParams()))
    drain(engine)
    engine.add(EngineRequest("a", prompt("x"), SamplingParams(max_tokens=1)))
    assert text(drain(engine)["a"]) == "a"


def test_an_engine_without_work_steps_to_nothing(make_engine: Fixture) -> None:
    engine: Engine = make_engine()
    assert not engine.has_work
    assert engine.step() == []


def test_a_prompt_of_pseudo_tokens_alone_is_served_with_penalties(
    make_engine: Fixture, drain: Fixture, llama: Llama, greedy: Fixture
) -> None:
    engine: Engine = make_engine()
    engine.add(
        EngineRequest("a", LLMInputs(llama.embed([5, 6]), (-1, -2)), greedy(6, frequency_penalty=2.0, ignore_eos=True))
    )
    assert len(drain(engine)["a"]) == 6


@pytest.mark.gpu
@pytest.mark.parametrize("biased", [False, True])  # without a bias, steps that only decode are recorded graphs
def test_a_gpu_says_what_the_cpu_says(
    make_engine: Fixture,
    drain: Fixture,
    prompt: Fixture,
    llama: Llama,
    tokenizer: Any,
    greedy: Fixture,
    biased: bool,
) -> None:
    bias = torch.ones(2, 32) * 0.1 if biased else None
    engine = Engine(copy.deepcopy(llama).to("cuda"), tokenizer, EngineConfig(max_running=3, prefill_chunk=5))
    params = greedy(14, ignore_eos=True, repetition_penalty=1.1, logprobs=1)
    for words in PROMPTS:
        engine.add(EngineRequest(words, prompt(words, layer_bias=bias), params))
    outputs = drain(engine)
    for words in PROMPTS:
        assert ids(outputs[words]) == ids(alone(make_engine, drain, prompt(words, layer_bias=bias), params))


@pytest.mark.gpu
def test_a_gpu_samples_by_every_option_as_the_cpu_does(
    make_engine: Fixture, drain: Fixture, prompt: Fixture, llama: Llama, tokenizer: Any
) -> None:
    """Twice over, so that the second prompts are read from the prefix cache."""
    styles = [*STYLES, SamplingParams(max_tokens=14, seed=9, grammar=regex("[a-f]{3} (panda|bear)"))]
    engine = Engine(copy.deepcopy(llama).to("cuda"), tokenizer, EngineConfig(max_running=4, block_size=4))
    words = PROMPTS[-1]
    for _ in range(2):
        for at, params in enumerate(styles):
            engine.add(EngineRequest(str(at), prompt(words), params))
        outputs = drain(engine)
        for at, params in enumerate(styles):
            assert ids(outputs[str(at)]) == ids(alone(make_engine, drain, prompt(words), params))


def test_a_bias_of_a_token_that_the_model_lacks_is_the_callers_mistake(
    make_engine: Fixture, prompt: Fixture, greedy: Fixture
) -> None:
    engine = make_engine()
    last = engine._llm.config.vocab - 1
    engine.add(EngineRequest("within", prompt("panda"), greedy(1, logit_bias=((last, 1.0),))))
    with pytest.raises(InvalidRequest, match=f"tokens 0 to {last}"):
        engine.add(EngineRequest("beyond", prompt("panda"), greedy(1, logit_bias=((last + 1, 1.0),))))
    assert list(engine._scheduler.running) == []
    assert engine.stats().waiting == 1


@pytest.mark.parametrize(("penalty", "counted"), [(0.5, False), (1.5, True)])
def test_a_reward_of_what_the_prompt_says_leaves_out_what_ends_the_answer(
    make_engine: Fixture, prompt: Fixture, greedy: Fixture, penalty: float, counted: bool
) -> None:
    """A prompt of turns holds the token that ends one: rewarded like the rest, it would be the whole answer."""
    engine, end, other = make_engine(), ord("d"), ord("a")
    engine.add(EngineRequest("one", prompt("ad"), greedy(6, repetition_penalty=penalty, stop_token_ids=(end,))))
    (chunk,) = engine._scheduler.schedule()
    assert chunk.sequence.history.seen[[end, other]].tolist() == [counted, True]
