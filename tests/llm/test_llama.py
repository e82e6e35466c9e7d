"""The model against Hugging Face's LLaMA on the same weights, and against itself in other forms."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig as PeerConfig
from transformers import LlamaForCausalLM

from pandagpt_core.llm.config import ATTENTION, FEED_FORWARD, LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import divergence, probed
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.rope import Rope
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama

MakeLlama = Callable[..., Llama]


def peer_of(llama: Llama) -> LlamaForCausalLM:
    """Hugging Face's model with the same weights."""
    c = llama.config
    peer = LlamaForCausalLM(
        PeerConfig(
            vocab_size=c.vocab,
            hidden_size=c.width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_dim,
            intermediate_size=c.ffn,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope.theta},
            tie_word_embeddings=c.tied,
            attention_bias="o_proj" in c.biases,
            mlp_bias="up_proj" in c.biases,
        )
    )
    peer.load_state_dict(llama.state_dict())
    return peer.eval()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_hugging_face(
    make_llama: MakeLlama, tiny_config: LlamaConfig, kv_heads: int, tied: bool
) -> None:
    llama = make_llama(replace(tiny_config, kv_heads=kv_heads, tied=tied, rope=Rope(5000.0)))
    ids = torch.randint(0, 96, (2, 40))
    with torch.no_grad():
        assert torch.allclose(llama(llama.embed(ids)), peer_of(llama)(ids).logits, atol=5e-5)


def test_logits_with_biases_are_those_of_hugging_face(make_llama: MakeLlama, tiny_config: LlamaConfig) -> None:
    llama = make_llama(replace(tiny_config, biases=frozenset(ATTENTION + FEED_FORWARD)))
    ids = torch.randint(0, 96, (2, 40))
    with torch.no_grad():
        assert torch.allclose(llama(llama.embed(ids)), peer_of(llama)(ids).logits, atol=5e-5)


@pytest.mark.parametrize("biases", [("q_proj", "k_proj", "v_proj"), ("q_proj", "o_proj", *FEED_FORWARD)])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-6), ("fp16", 1e-4), ("bf16", 5e-3), ("int8", 0.02)])
def test_biases_are_added_in_every_precision(
    make_llama: MakeLlama, tiny_config: LlamaConfig, biases: tuple[str, ...], precision: Precision, limit: float
) -> None:
    config = replace(tiny_config, biases=frozenset(biases))
    reference = probed(make_llama(config))
    assert divergence(reference, serve(make_llama(config), precision)) < limit
    assert divergence(reference, without_biases(make_llama(config))) > 10 * limit


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-6), ("bf16", 5e-3), ("int8", 0.02)])
def test_norms_of_heads_hold_in_every_precision(
    make_llama: MakeLlama, tiny_config: LlamaConfig, precision: Precision, limit: float
) -> None:
    config = replace(tiny_config, head_norms=True)
    reference = probed(make_llama(config))
    assert divergence(reference, serve(make_llama(config), precision)) < limit
    plain = make_llama(config)
    for name, parameter in plain.named_parameters():
        if name.endswith("q_norm.weight"):
            parameter.fill_(0.2)
    assert divergence(reference, serve(plain)) > 0.02


def without_biases(llama: Llama) -> Llama:
    for name, parameter in llama.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    return serve(llama)


def test_logits_of_the_golden_vicuna_are_those_of_hugging_face(golden: Path) -> None:
    folder = golden / "pandagpt-tiny" / "vicuna_tiny"
    llama, peer = load_llama(folder), LlamaForCausalLM.from_pretrained(folder)
    ids = torch.randint(3, 480, (2, 64))
    with torch.no_grad():
        assert torch.allclose(llama(llama.embed(ids)), peer(ids).logits, atol=5e-5)


def test_right_padding_changes_no_real_position(make_llama: MakeLlama) -> None:
    llama = make_llama()
    ids = torch.randint(0, 96, (2, 12))
    keep = torch.ones(2, 12, dtype=torch.bool)
    keep[0, 7:] = False
    padded = llama(llama.embed(ids), keep)
    assert torch.allclose(padded[0, :7], llama(llama.embed(ids[:1, :7]))[0], atol=1e-5)
    assert torch.allclose(padded[1], llama(llama.embed(ids[1:]))[0], atol=1e-5)


def test_a_layer_bias_is_what_a_biased_output_projection_gives(make_llama: MakeLlama) -> None:
    llama = make_llama()
    bias = torch.randn(2, 2, 32) * 0.1  # [B, L, D]
    ids = torch.randint(0, 96, (2, 9))
    biased = llama(llama.embed(ids), layer_bias=bias)
    for row in range(2):
        for index, layer in enumerate(llama.model.layers):
            layer.self_attn.o_proj.bias = torch.nn.Parameter(bias[row, index])
        assert torch.allclose(biased[row], llama(llama.embed(ids[row : row + 1]))[0], atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 2e-3), ("bf16", 2e-2), ("int8", 4e-2)])
def test_serving_precisions_stay_near_the_reference(
    make_llama: MakeLlama, tiny_config: LlamaConfig, precision: str, tolerance: float
) -> None:
    for tied in (False, True):
        config = replace(tiny_config, tied=tied)
        ids = torch.randint(0, 96, (2, 20))
        reference = make_llama(config)
        expected = reference(reference.embed(ids))
        served = serve(make_llama(config), precision)  # type: ignore[arg-type]  # the parameter is a plain string
        got = served(served.embed(ids))
        assert got.dtype == torch.float32
        assert ((got - expected).norm() / expected.norm()).item() < tolerance


def test_chunks_have_the_logits_of_the_whole_sequence(make_llama: MakeLlama) -> None:
    plain, served = make_llama(), serve(make_llama())
    embeds = plain.embed(torch.arange(90) % plain.config.vocab)
    forward = served.chunked(90)
    parts = [forward(part) for part in embeds.split([64, 1, 25])]
    torch.testing.assert_close(torch.cat(parts), plain(embeds[None])[0], atol=1e-4, rtol=1e-4)


def test_gradients_flow_before_serving_and_not_after(make_llama: MakeLlama) -> None:
    llama = make_llama().requires_grad_(True)
    llama(llama.embed([[1, 2, 3]])).sum().backward()
    assert all(parameter.grad is not None for parameter in llama.parameters())
    assert not any(parameter.requires_grad for parameter in serve(llama).parameters())


def test_a_tied_table_is_kept_once(make_llama: MakeLlama, tiny_config: LlamaConfig) -> None:
    llama = serve(make_llama(replace(tiny_config, tied=True)), "bf16")
    assert llama.head.weight is llama.llm.model.embed_tokens.weight
    assert llama.embed([1]).dtype == torch.float32
