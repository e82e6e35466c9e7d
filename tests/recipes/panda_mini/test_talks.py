"""Talks about readings say what the line holds, and no more; they are laid out as the service writes them."""

import json
import re

import numpy as np
import pytest
import torch

from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.perception.languages import LANGUAGES
from pandagpt_core.perception.reading import NamedConcept, Reading, Thing, words
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.language.reading_lora import IGNORED, ReadingConfig, Talks, collated
from recipes.panda_mini.talks.describing import ask_json
from recipes.panda_mini.talks.looks import ask_bigger, ask_colour, ask_count, ask_where
from recipes.panda_mini.talks.naming import ask_name, foreign
from recipes.panda_mini.talks.readings import draw_reading
from recipes.panda_mini.talks.talk import draw_talk
from recipes.panda_mini.talks.words import TalkVocabulary
from recipes.panda_mini.talks.yes_no import ask_yes_no

NAMES = (
    NamedConcept("cat", ("animal",)),
    NamedConcept("castle", ("building",)),
    NamedConcept("person"),
    NamedConcept("bus", ("vehicle",)),
)
WORDS = TalkVocabulary(
    NAMES, (NamedConcept("trumpet", ("musical instrument",)), NamedConcept("rain")), (NamedConcept("running"),)
)
CAT = Reading(
    "picture",
    (NAMES[0],),
    True,
    colours=("gray",),
    ground=("blue",),
    things=(Thing("cat", ("gray",), "left", "large"), Thing("bus", ("red",), "right", "small")),
)
RNG = np.random.default_rng(0)


def many(ask, n: int = 60) -> dict[str, str]:  # type: ignore[no-untyped-def]
    return dict(asked for asked in (ask(np.random.default_rng(seed)) for seed in range(n)) if asked is not None)


def test_every_answer_about_a_drawn_reading_names_what_stands_in_its_line() -> None:
    for seed in range(300):
        rng = np.random.default_rng(seed)
        reading = draw_reading(WORDS, rng)
        line = words(reading)
        question, answer = ask_name(reading, rng)
        for one in reading.names:
            assert one.name in answer.lower(), (line, question, answer)
        assert reading.sure or reading.void or "may be" in answer
        assert draw_talk(reading, WORDS, rng)


def test_unsure_and_empty_readings_are_answered_as_such() -> None:
    unsure = Reading("picture", NAMES[:2])
    assert all("not sure" in answer for answer in many(lambda rng: ask_name(unsure, rng)).values())
    silence = Reading("sound", void="silence")
    assert all("silence" in answer for answer in many(lambda rng: ask_name(silence, rng)).values())


def test_yes_and_no_agree_with_the_line() -> None:
    for question, answer in many(lambda rng: ask_yes_no(CAT, WORDS, rng), 200).items():
        asked = re.sub(
            r"^.* (an?|there) ", "", question.rstrip("?").replace(" in the picture", "").replace(" in the photo", "")
        )
        there = any(name in asked for name in ("cat", "animal", "bus"))
        is_subject = not question.startswith("Is this") or "bus" not in asked
        if is_subject and "vehicle" not in asked:
            assert answer.startswith("Yes") == there, (question, answer)


def test_counts_colours_places_and_sizes_are_the_lines() -> None:
    counts = many(lambda rng: ask_count(CAT, WORDS, rng))
    assert counts["How many cats are there?"] == "There is one cat."
    colours = many(lambda rng: ask_colour(CAT, rng), 200)
    assert colours["What color is the bus?"] == "The bus is red."
    assert colours["What color is the background?"] == "The background is blue."
    places = many(lambda rng: ask_where(CAT, rng), 100)
    assert places["Where is the bus?"] == "The bus is on the right."
    sizes = many(lambda rng: ask_bigger(CAT, rng))
    assert sizes["Is the cat bigger than the bus?"].startswith("Yes")
    assert sizes["Is the bus bigger than the cat?"].startswith("No")


def test_json_is_json() -> None:
    for answer in many(lambda rng: ask_json(CAT, rng)).values():
        assert set(json.loads(answer)) <= {"name", "color", "count", "animal", "kind"}


@pytest.mark.parametrize("code", ["de", "es", "fr"])
def test_another_language_is_answered_with_its_own_names(code: str) -> None:
    language = LANGUAGES[code]
    asked = foreign(CAT, language, RNG)
    assert asked is not None
    assert language.noun("cat") in asked[1]


@pytest.fixture(scope="module")
def drawn() -> Talks:
    tokenizer = load_tokenizer(llm_file())
    plain = {"Hello!": tokenizer.encode("Hi there.")}
    return Talks(tokenizer, WORDS, load_concepts(), torch.randn(204, 16), plain, ReadingConfig(batch=4, pool=3))


def test_a_laid_out_talk_learns_the_answers_and_nothing_else(drawn: Talks) -> None:
    tokenizer = load_tokenizer(llm_file())
    end = tokenizer.token_id("<|im_end|>")
    for batch, _ in zip(drawn.batches(), range(6), strict=False):
        for one in batch:
            learned = [target for target in one.targets if target != IGNORED]
            assert learned
            assert one.targets[-1] != IGNORED
            assert all(target in (IGNORED, token) for target, token in zip(one.targets, one.ids, strict=True))
            assert len(one.vectors) == one.ids.count(None)
            starts = [at for at, t in enumerate(one.targets) if t != IGNORED and one.targets[at - 1] == IGNORED]
            assert starts
            assert end in learned or one.ids.count(None) == 0


def test_the_prompt_is_the_services(drawn: Talks) -> None:
    """Up to the first answer: template, soft token, line, question."""
    tokenizer = load_tokenizer(llm_file())
    laid = drawn._laid([("What is this?", "This is a cat.")], [(CAT, words(CAT))], RNG)
    conversation = Conversation((Turn("user", "What is this?"),), (MediaUse(Modality.IMAGE, "0" * 64, 0),))
    prompt: list[int | None] = []
    for token in token_ids(TEMPLATES["chatml"], tokenizer, conversation):
        prompt += [None, *tokenizer.encode(words(CAT) + "\n")] if token is None else [token]
    assert list(laid.ids[: len(prompt)]) == prompt
    assert laid.targets[len(prompt) - 1] == IGNORED
    assert laid.targets[len(prompt)] != IGNORED


def test_a_batch_has_a_vector_for_each_slot(drawn: Talks) -> None:
    laid = next(iter(drawn.batches()))
    batch = collated(laid, 16)
    assert int(batch.soft.sum()) == len(batch.vectors) - 1
    assert batch.weights.tolist() == [0.0, *[1.0] * (len(batch.vectors) - 1)]
