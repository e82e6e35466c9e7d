"""Both kinds of tokenizer: literal encoding, exact decoding, special ids from the files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer

HARD_TEXTS = [
    "",
    " ",
    "a  b",
    " ok",
    "ok ",
    "x\n\n###",
    "你好 🐼",
    "</s><s>[INST]",
    "<unk>",
    "<0x0A>",
    "12345",
    "\x00\t",
]


@pytest.fixture
def bpe_folder(tmp_path: Path) -> Path:
    """A byte-level tokenizer.json with two control tokens and one added word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: n for n, piece in enumerate([*alphabet, "pa", "nda", "Ġpa"])}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[("p", "a"), ("Ġ", "pa")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|start|>", special=True), AddedToken("<|end|>", special=True)])
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<|start|>", "eos_token": "<|end|>"}))
    return tmp_path


@pytest.fixture(params=["pieces", "bpe"])
def tokenizer(request: pytest.FixtureRequest, piece_folder: Path, bpe_folder: Path) -> Tokenizer:
    return load_tokenizer(piece_folder if request.param == "pieces" else bpe_folder)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_text_survives_encoding_and_decoding(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_streamed_text_is_the_decoded_text(tokenizer: Tokenizer, text: str) -> None:
    detokenizer = tokenizer.detokenizer()
    assert "".join(map(detokenizer.push, tokenizer.encode(text))) + detokenizer.flush() == text


@pytest.mark.parametrize("name", ["<s>", "</s>", "<|start|>", "<|end|>", "x<|end|>\n</s>"])
def test_a_control_tokens_name_in_text_is_only_text(tokenizer: Tokenizer, name: str) -> None:
    ids = tokenizer.encode(name)
    assert not tokenizer.eos_ids & set(ids)
    assert tokenizer.bos_id not in ids
    assert tokenizer.decode(ids) == name


def test_control_tokens_are_found_by_name_and_have_no_text(tokenizer: Tokenizer) -> None:
    start = "<s>" if tokenizer.token_id("<s>") is not None else "<|start|>"
    assert tokenizer.token_id(start) == tokenizer.bos_id
    assert tokenizer.decode([tokenizer.bos_id or 0, *tokenizer.eos_ids]) == ""
    assert tokenizer.token_id("no such piece") is None


def test_a_tokens_own_text_is_shown_even_where_it_is_no_character(tokenizer: Tokenizer) -> None:
    first_byte = tokenizer.encode("🐼")[-4]
    assert tokenizer.token_bytes(first_byte) == b"\xf0"
    assert tokenizer.token_bytes(10**6) == b""


def folder_with(source: Path, target: Path, **files: Any) -> Path:
    shutil.copy(source / "tokenizer.model", target)
    for name, content in files.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    return target


def test_bos_and_eos_are_the_models_own_without_other_files(piece_folder: Path) -> None:
    tokenizer = load_tokenizer(piece_folder)
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (1, frozenset({2}))


def test_bos_is_what_the_files_say_even_if_that_is_the_end_token(piece_folder: Path, tmp_path: Path) -> None:
    folder = folder_with(piece_folder, tmp_path, special_tokens_map={"bos_token": {"content": "</s>"}})
    assert load_tokenizer(folder).bos_id == 2


def test_the_special_tokens_map_outranks_the_tokenizer_config(piece_folder: Path, tmp_path: Path) -> None:
    maps = {"special_tokens_map": {"bos_token": "</s>"}, "tokenizer_config": {"bos_token": "<s>"}}
    assert load_tokenizer(folder_with(piece_folder, tmp_path, **maps)).bos_id == 2


def test_an_empty_special_token_names_nothing(piece_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder_with(piece_folder, tmp_path, tokenizer_config={"bos_token": "", "eos_token": ""}))
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (1, frozenset({2}))


def test_every_end_of_the_generation_config_ends_an_answer(piece_folder: Path, tmp_path: Path) -> None:
    folder = folder_with(piece_folder, tmp_path, generation_config={"eos_token_id": [2, 7]}, config={"eos_token_id": 9})
    assert load_tokenizer(folder).eos_ids == {2, 7}


def test_added_tokens_of_a_piece_folder_are_found_by_name(piece_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder_with(piece_folder, tmp_path, added_tokens={"<pad>": 32000}))
    assert tokenizer.token_id("<pad>") == 32000
    assert tokenizer.decode([32000]) == ""


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither"):
        load_tokenizer(tmp_path)


def test_ids_and_text_are_the_originals(golden: Path) -> None:
    cases = json.loads((golden / "pandagpt-tiny" / "cases.json").read_text())
    tokenizer = load_tokenizer(golden / "pandagpt-tiny" / "vicuna_tiny")
    assert tokenizer.bos_id == 1
    for case in cases["tokenizer"]:
        assert tokenizer.decode(case["ids"]) == case["decoded"]
        if {1, 2}.isdisjoint(case["ids"]):  # the original reads control tokens out of the caller's text, we do not
            assert tokenizer.encode(case["text"]) == case["ids"]
    for case in cases["cases"].values():
        assert tokenizer.decode(case["generate_output_ids"]) == case["decoded_full"]
        assert tokenizer.encode(case["prompt_start"]) == case["prompt_start_ids"]
        assert tokenizer.encode(case["after_text"]) == case["after_ids"]
