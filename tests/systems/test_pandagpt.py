"""PandaGPT as a system: prompts with one soft row, its checks, its stops. Parity is in tests/parity."""

import dataclasses
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import PandaGPTFolder, SystemFolder
from pandagpt_core.engine.sequence import StopMatcher
from pandagpt_core.errors import (
    CheckpointError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelFault,
    UnsupportedModality,
)
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.systems import SYSTEMS
from pandagpt_core.systems.encoder import LOADERS
from pandagpt_core.systems.prompting import pseudo_id
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.systems.tiny_pandagpt import QUESTION, WIDTH, Make


def asked(*media: MediaUse) -> Conversation:
    return Conversation(QUESTION, media)


def image(weight: float = 1.0, digest: str = "a", turn: int = 0) -> MediaUse:
    return MediaUse(Modality.IMAGE, digest, turn, weight)


def test_the_soft_row_is_the_composed_vector_and_others_are_tokens(make: Make) -> None:
    system = make()
    embedding = torch.arange(float(WIDTH))[None]
    inputs = system.prepare(asked(image(2.0)), [embedding])
    (at,) = [index for index, token in enumerate(inputs.ids) if token < 0]
    torch.testing.assert_close(inputs.embeds[at], 2 * system.projection(embedding)[0])
    others = [index for index in range(len(inputs.ids)) if index != at]
    torch.testing.assert_close(inputs.embeds[others], system.llm.embed([inputs.ids[index] for index in others]))


def test_a_conversation_without_media_has_no_soft_row(make: Make) -> None:
    inputs = make().prepare(asked(), [])
    assert min(inputs.ids) >= 0
    assert inputs.embeds.shape == (len(inputs.ids), 64)


def test_soft_rows_have_equal_ids_only_if_they_are_equal(make: Make) -> None:
    row = torch.ones(4)
    assert pseudo_id(row) == pseudo_id(row.clone())
    assert pseudo_id(row) != pseudo_id(row * 2)
    assert -(2**63) <= pseudo_id(row) < 0


def test_several_media_share_the_one_soft_row(make: Make) -> None:
    system = make()
    first, second = torch.ones(1, WIDTH), torch.arange(float(WIDTH))[None]
    media = (image(0.5), MediaUse(Modality.AUDIO, "b", 0, 3.0))
    inputs = system.prepare(asked(*media), [first, second])
    (at,) = [index for index, token in enumerate(inputs.ids) if token < 0]
    projected = system.projection(torch.cat([first, second]))
    torch.testing.assert_close(inputs.embeds[at], 0.5 * projected[0] + 3 * projected[1])


def test_a_picture_sent_again_with_each_turn_counts_once(make: Make) -> None:
    turns = (Turn("user", "q1"), Turn("assistant", "a1"), Turn("user", "q2"))
    embedding = torch.ones(1, WIDTH)
    once = make().prepare(Conversation(turns, (image(),)), [embedding])
    again = make().prepare(Conversation(turns, (image(), image(turn=2))), [embedding, embedding])
    assert once.ids == again.ids


@pytest.mark.parametrize(
    ("embeddings", "reason"),
    [
        ([], "0 embeddings were given for 1 media"),
        ([torch.ones(1, WIDTH + 1)], "shape"),
        ([torch.ones(WIDTH)], "shape"),
        ([torch.ones(2, WIDTH)], "shape"),
    ],
)
def test_embeddings_that_are_not_the_models_are_refused(
    make: Make, embeddings: list[torch.Tensor], reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        make().prepare(asked(image()), embeddings)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_of_the_weights_are_the_models_fault_and_not_the_callers(make: Make, value: float) -> None:
    with pytest.raises(ModelFault, match="the encoder's weights are at fault"):
        make().prepare(asked(image()), [torch.full((1, WIDTH), value)])
    system = make()
    sound = system.projection
    system = dataclasses.replace(
        system, projection=dataclasses.replace(sound, weight=sound.weight.clone().fill_(value))
    )
    with pytest.raises(ModelFault, match="the model's projection gives numbers that are not finite"):
        system.prepare(asked(image()), [torch.ones(1, WIDTH)])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e39])
def test_weights_without_a_finite_sum_are_refused(make: Make, weight: float) -> None:
    with pytest.raises(InvalidRequest, match="weights"):
        make().prepare(asked(image(weight)), [torch.ones(1, WIDTH)])


def test_a_medium_without_a_tower_is_refused_also_with_an_embedding(make: Make) -> None:
    with pytest.raises(UnsupportedModality, match="takes no thermal"):
        make().prepare(asked(MediaUse(Modality.THERMAL, "a", 0)), [torch.ones(1, WIDTH)])


def test_clips_of_each_item_are_averaged_and_items_may_differ_in_clips(make: Make) -> None:
    one, three = np.ones((1, WIDTH), np.float32), np.stack([np.full(WIDTH, n, np.float32) for n in (1, 2, 6)])
    embedded = make().encode(Modality.IMAGE, [one, three])
    torch.testing.assert_close(embedded, torch.tensor([[[1.0] * WIDTH], [[3.0] * WIDTH]]))


@pytest.mark.parametrize(
    ("turns", "what"),
    [([Turn("user", "x" * (256 * 32 + 1))], "8193 characters"), ([Turn("user", "")] * 257, "257 turns")],
)
def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenised(make: Make, turns: list[Turn], what: str) -> None:
    with pytest.raises(ContextLengthExceeded, match=f"length is 256 tokens. However, the .* has {what}"):
        make().prepare(Conversation(tuple(turns)), [])


def test_a_modality_without_a_tower_is_refused_by_name(make: Make) -> None:
    with pytest.raises(UnsupportedModality, match="takes no thermal; it takes image, audio"):
        make().encode(Modality.THERMAL, [np.ones((1, WIDTH), np.float32)])


def test_unit_vectors_have_norm_one_and_keep_their_direction(make: Make) -> None:
    for rows, expected in (([[3.0, 4.0]], [0.6, 0.8]), ([[0.0, 0.5]], [0.0, 1.0])):
        torch.testing.assert_close(make().unit(Modality.IMAGE, torch.tensor(rows)), torch.tensor(expected))


def test_an_option_that_the_system_does_not_have_is_refused_by_name(make: Make) -> None:
    with pytest.raises(InvalidRequest, match="its options are: none") as refused:
        make().prepare(Conversation(QUESTION, options={"temperature": 1}), [])
    assert refused.value.param == "options"


def test_the_templates_stops_are_added_to_the_callers(make: Make) -> None:
    params = make().stops(SamplingParams(stop=("END",), stop_token_ids=(7,)))
    assert (params.stop, params.stop_token_ids) == (("END", "\n###", "\n\n###"), (7,))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It is a car.\n### Human:", "It is a car."),
        ("It is a car.\n\n### Human:", "It is a car."),
        ("## Title\nC## is no C#.", "## Title\nC## is no C#."),
    ],
)
def test_an_answer_is_cut_at_the_next_turn_with_its_blank_line_alone(text: str, shown: str) -> None:
    matcher = StopMatcher(TEMPLATES["vicuna-v0"].stop)
    assert "".join(map(matcher.push, text)) + matcher.flush() == shown


def test_the_original_stop_rule_is_the_token_of_two_signs(make: Make, vicuna: Tokenizer) -> None:
    params = make(original_stop=True).stops(SamplingParams())
    assert (params.stop, params.stop_token_ids) == ((), (vicuna.token_id("##"),))


def test_ignoring_the_end_of_sequence_ignores_the_templates_stops(make: Make) -> None:
    assert make().stops(SamplingParams(ignore_eos=True)) == SamplingParams(ignore_eos=True)


def test_chatml_ends_at_its_control_tokens(make: Make, smollm2: Tokenizer) -> None:
    params = make(tokenizer=smollm2, template=TEMPLATES["chatml"]).stops(SamplingParams())
    assert params.stop == ()
    assert {smollm2.token_id("<|im_end|>"), smollm2.token_id("<|im_start|>")} <= set(params.stop_token_ids)


def test_a_tokenizer_without_the_templates_tokens_is_refused_at_once(make: Make) -> None:
    with pytest.raises(CheckpointError, match="im_start"):
        make(template=TEMPLATES["chatml"])


class JoinsNewlines:
    """Sentencepiece's space before a text, and a newline that is one token with what follows it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text) if text == "\n" else self._tokenizer.encode(text.replace("\n", " "))


def test_a_tokenizer_that_joins_newlines_is_refused_for_plain_text_markers(make: Make, vicuna: Tokenizer) -> None:
    with pytest.raises(CheckpointError, match="joins newlines"):
        make(tokenizer=JoinsNewlines(vicuna))


def test_text_after_a_callers_marker_may_begin_with_newlines(make: Make, smollm2: Tokenizer) -> None:
    chatml = make(tokenizer=smollm2, template=TEMPLATES["chatml"])
    asked = "<tools>\n\n\nWhich are there?"
    ids = [token for token in chatml.prompting.ids(Conversation((Turn("user", asked),))) if isinstance(token, int)]
    assert asked in smollm2.decode(ids)


def test_every_system_encoder_and_template_of_the_folder_schema_has_an_entry() -> None:
    members = get_args(SystemFolder) or (SystemFolder,)
    assert {member.__struct_config__.tag for member in members} == set(SYSTEMS)
    schema = get_type_hints(PandaGPTFolder)
    assert set(get_args(schema["template"])) <= set(TEMPLATES)
    assert set(get_args(get_type_hints(schema["encoder"])["kind"])) == set(LOADERS)
