"""What the small default learns to say: questions about a picture and answers that name it first."""

from collections.abc import Sequence

import numpy as np

from pandagpt_core.training.concepts import Concept

WHAT = (
    "What is this?",
    "What is in the picture?",
    "What do you see?",
    "What is it?",
    "What does this show?",
    "Name it.",
    "Can you tell me what this is?",
    "What is in the image?",
    "Describe the picture.",
    "Describe what you see in one sentence.",
    "Please tell me what you perceive.",
    "Which thing is this?",
    "Identify this.",
    "What am I looking at?",
    "Tell me about this.",
)
_SHORT = ("This is {a}.", "It is {a}.", "This looks like {a}.", "I see {a}.")
_LONG = ("This is {a}, {desc}.", "It is {a}, {desc}.", "This looks like {a}, {desc}.", "I see {a}, {desc}.")
_KIND = ("What kind of thing is it?", "What category does it belong to?", "What sort of thing is this?")
_IS_IT = ("Is this {a}?", "Is it {a}?", "Do you see {a}?")
_NO_ARTICLE = frozenset({"nature", "activity", "action", "weather", "sport"})

TEXT_ONLY = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How many days are in a week?",
    "Explain what a database is in one sentence.",
    "What is 2 plus 3?",
    "Give me a synonym for happy.",
    "Who wrote Romeo and Juliet?",
    "Name three colors.",
    "What is water made of?",
    "How do I boil an egg?",
    "Write a short greeting.",
    "What does HTTP stand for?",
    "Why is the sky blue?",
    "List two kinds of trees.",
    "What is the largest planet?",
    "Translate 'good morning' to Spanish.",
    "What is a noun?",
    "How far is the moon?",
    "Tell me a short joke.",
    "What is the opposite of hot?",
    "What is machine learning?",
    "Which ocean is the largest?",
    "How many legs does a spider have?",
    "Give me a tip for better sleep.",
    "What is the boiling point of water?",
    "Write a haiku about rain.",
    "What is Python used for?",
    "Who painted the Mona Lisa?",
    "What language is spoken in Brazil?",
    "Summarize what gravity is.",
    "What is the tallest mountain?",
    "What do bees make?",
)


def with_article(concept: Concept) -> str:
    """ "a dog", "an apple", "rain"."""
    name = concept.name
    if concept.cat in _NO_ARTICLE or (name.endswith("s") and not name.endswith("ss")):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def say(concept: Concept, others: Sequence[Concept], random: np.random.Generator) -> tuple[str, str]:
    """One question and its answer about a picture of `concept`; now and then about its kind, or a yes or no."""
    thing = with_article(concept)
    kind = random.random()
    if kind < 0.70:
        question = str(random.choice(WHAT))
        answers = _LONG if question.startswith(("Describe", "Tell")) or random.random() < 0.5 else _SHORT
        return question, str(random.choice(answers)).format(a=thing, desc=concept.desc)
    if kind < 0.80:
        return str(random.choice(_KIND)), f"It is a kind of {concept.cat}: {thing}."
    asked = concept if random.random() < 0.5 else others[int(random.integers(len(others)))]
    question = str(random.choice(_IS_IT)).format(a=with_article(asked))
    if asked is concept:
        return question, f"Yes, this is {thing}."
    return question, f"No, this is {thing}."


def first_named(answer: str, names: Sequence[str]) -> str | None:
    """The concept that an answer names first; of names that begin at one place the longest."""
    text = f" {''.join(c if c.isalnum() else ' ' for c in answer.lower())} "
    found = [(text.find(f" {name} "), -len(name), name) for name in names if f" {name} " in text]
    plural = [(text.find(f" {name}s "), -len(name), name) for name in names if f" {name}s " in text]
    return min([*found, *plural], default=(0, 0, None))[2]
