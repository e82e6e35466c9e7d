"""The language model's examples: an answer names the concept with the largest share in the recalled embedding."""

import numpy as np
import torch
from torch.nn.functional import normalize

from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.training.evaluation.measures import first_named
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.language.projection_lora import Example, Gallery, SpeechConfig, batches, picture_prompt
from recipes.panda_mini.language.qa_templates import NO_PICTURE

CONCEPTS = load_concepts()
NAMES = [concept.name for concept in CONCEPTS]
COUNT = len(CONCEPTS)
CONFIG = SpeechConfig(later=0.5)


def gallery(config: SpeechConfig = CONFIG) -> Gallery:
    torch.manual_seed(0)
    directions = torch.eye(COUNT)
    key = torch.arange(COUNT).repeat(3)
    return Gallery(normalize(directions[key] + 0.03 * torch.randn(len(key), COUNT), dim=-1), key, directions, config)


def drawn(count: int, config: SpeechConfig = CONFIG) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Shares of the directions (which are the axes here) and what is to be named."""
    rng, one = np.random.default_rng(0), gallery(config)
    return [(seen.embedding.numpy(), seen.named) for seen in (one.draw(rng) for _ in range(count))]


def tokenizer() -> Tokenizer:
    return load_tokenizer(llm_file())


def test_the_concept_to_name_is_the_one_that_leads() -> None:
    for shares, named in drawn(500):
        assert shares[named[0]] > shares.max() - 1e-5


def test_two_are_named_only_where_both_are_surely_there() -> None:
    pairs = [(shares, named) for shares, named in drawn(500) if len(named) == 2]
    assert pairs
    for shares, (first, second) in pairs:
        assert shares[first] >= shares[second] > CONFIG.present


def test_of_two_media_the_stronger_leads_clearly_where_one_is_named() -> None:
    for shares, named in drawn(500):
        if len(named) == 1 and shares.sum() > 1.5:
            first, second = np.sort(shares)[::-1][:2]
            assert first - second >= CONFIG.clear


def test_every_concept_is_drawn_about_as_often() -> None:
    counts = np.bincount([named[0] for _, named in drawn(4000, SpeechConfig(pairs=0.0))], minlength=COUNT)
    assert counts.min() > 0
    assert counts.max() < 5 * counts.mean()


def test_a_concept_that_is_nearest_to_none_is_drawn_from_its_own_direction() -> None:
    directions = torch.eye(4)
    bare = Gallery(directions[:1].repeat(2, 1), torch.tensor([0, 1]), directions, SpeechConfig(pairs=0.0))
    assert {bare.draw(np.random.default_rng(seed)).named[0] for seed in range(40)} == {0, 1, 2, 3}


def test_a_batch_holds_its_shares_of_pictures_text_and_questions() -> None:
    words = tokenizer()
    plain = {"What is 2 plus 3?": list(range(100, 140))}
    batch = next(batches(gallery(), CONCEPTS, words, plain))
    seen = [example for example in batch if example.embedding is not None]
    assert len(batch) == CONFIG.batch
    assert len(seen) == CONFIG.batch - CONFIG.text_only - CONFIG.pictureless
    assert [list(e.answer) for e in batch].count(plain["What is 2 plus 3?"][: CONFIG.text_tokens]) == CONFIG.text_only
    assert sum(words.decode(e.answer).startswith(NO_PICTURE) for e in batch) == CONFIG.pictureless


def test_answers_name_what_the_embedding_holds() -> None:
    words = tokenizer()
    stream = batches(gallery(), CONCEPTS, words, {"Hello!": [1]})
    for example in (e for _ in range(10) for e in next(stream) if e.embedding is not None):
        answer = words.decode([token for token in example.answer if token not in words.eos_ids])
        shares = _embedding(example)
        held = [NAMES[index] for index in (shares > shares.max() - 1e-5).nonzero()[:, 0].tolist()]
        if ":" not in answer:  # a question after the kind names the kind first
            assert first_named(answer, NAMES) in held


def test_a_later_question_stands_in_the_prompt_after_the_first_and_its_answer() -> None:
    words = tokenizer()
    ids = picture_prompt(words, "What is this?", "This is a dog.", "What was it again?")
    text = words.decode([i for i in ids if i is not None])
    assert ids.count(None) == 1
    assert text.index("What is this?") < text.index("This is a dog.") < text.index("What was it again?")


def _embedding(example: Example) -> torch.Tensor:
    assert example.embedding is not None
    return example.embedding


def test_questions_after_no_picture_have_every_form_of_those_about_pictures() -> None:
    words = tokenizer()
    config = SpeechConfig(batch=120, text_only=0, pictureless=120)
    asked = [
        words.decode([i for i in e.prompt if i is not None])
        for e in next(batches(gallery(config), CONCEPTS, words, {"Hello!": [1]}))
    ]
    for form in ("Describe", "Is it a", "kind", "What is"):
        assert any(form in prompt for prompt in asked), form
