# ruff: noqa: E501 - tables of sentences, a sentence a line
"""Questions that ask for a name, in English and in other languages, and the answers where nothing is sure or there."""

from collections.abc import Mapping

import numpy as np

from pandagpt_core.perception.languages import Language, english_noun
from pandagpt_core.perception.reading import Reading, grouped
from recipes.panda_mini.talks.words import SHOWN, counted, joined

_NAMING = (
    ("What is this?", "This is {a}."),
    ("What is it?", "It is {a}."),
    ("What is in the {s}?", "The {s} shows {a}."),
    ("What does the {s} show?", "The {s} shows {a}."),
    ("What does this show?", "This shows {a}."),
    ("What do you see?", "I see {a}."),
    ("What do you see in the {s}?", "I see {a}."),
    ("What am I looking at?", "You are looking at {a}."),
    ("What could this be?", "This could be {a}."),
    ("Can you tell me what this is?", "This is {a}."),
    ("Please identify this.", "This is {a}."),
    ("Name it.", "It is {a}."),
    ("Who or what is this?", "This is {a}."),
    ("Who or what is in the {s}?", "The {s} shows {a}."),
    ("What is in the photo?", "The photo shows {a}."),
    ("What is in the image?", "The image shows {a}."),
    ("What does the photo show?", "The photo shows {a}."),
    ("Answer in a few words: what is this?", "{A}."),
)
_HEARD = (
    ("What is this?", "This is {a}."),
    ("What do you hear?", "I hear {a}."),
    ("What is the sound?", "The sound is {a}."),
    ("What can be heard?", "It is {a}."),
    ("What makes this sound?", "It is {a}."),
    ("Name it.", "It is {a}."),
)
_MOVED = (
    ("What is this?", "This is {a}."),
    ("What is the person doing?", "It is {a}."),
    ("What movement is this?", "This is {a}."),
)
_READ = (("What is this?", "This is {a}."), ("What is it about?", "It is about {a}."), ("Name it.", "It is {a}."))
_VOIDS: Mapping[str, str] = {
    "silence": "This is silence: nothing can be heard.",
    "no movement": "There is no movement: the sensor lies still.",
}


def _naming_of(reading: Reading) -> tuple[tuple[str, str], ...]:
    return {"sound": _HEARD, "motion": _MOVED, "text": _READ}.get(reading.sense, _NAMING)


def maybe(reading: Reading) -> str:
    candidates = " or ".join(english_noun(one.name) for one in reading.names)
    if reading.kind:
        return f"This is {english_noun(reading.kind)}; I am not sure which, it may be {candidates}."
    return f"I am not sure what this is; it may be {candidates}."


def void_answer(reading: Reading) -> str:
    if reading.void in _VOIDS:
        return _VOIDS[reading.void]
    if reading.sense == "sound":
        return "This is noise: I hear nothing that I could name."
    shown = SHOWN[reading.sense]
    if reading.void == "blank":
        colour = f": it is all {reading.colours[0]}" if reading.colours else ""
        return f"The {shown} is blank{colour}. There is nothing in it."
    if reading.void == "noise":
        return f"The {shown} is noise. There is nothing in it that I could name."
    return f"The {shown} shows a pattern of {joined(reading.colours)}, and no thing that I could name."


def ask_name(reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
    question, pattern = _naming_of(reading)[int(rng.integers(len(_naming_of(reading))))]
    shown = (
        str(rng.choice([SHOWN.get(reading.sense, "picture"), "picture"])) if reading.sense != "picture" else "picture"
    )
    question = question.format(s=shown)
    if reading.void:
        return question, void_answer(reading)
    if not reading.sure:
        return question, _with_things(reading, maybe(reading))
    a = english_noun(reading.names[0].name)
    return question, pattern.format(a=a, A=a[0].upper() + a[1:], s=shown)


def _with_things(reading: Reading, answer: str) -> str:
    """The answer, and the things seen in an unsure picture."""
    if not reading.things:
        return answer
    seen = joined([counted(name, len(members)) for name, members in grouped(reading.things)])
    return f"{answer} I see {seen}."


_FOREIGN: Mapping[str, tuple[tuple[tuple[str, str], ...], str, str]] = {
    "de": (
        (("Was ist das?", "Das ist {a}."), ("Was zeigt das Bild?", "Das Bild zeigt {a}."), ("Was siehst du?", "Ich sehe {a}."),
         ("Was ist auf dem Bild zu sehen?", "Das Bild zeigt {a}."), ("Was ist auf dem Foto?", "Das Foto zeigt {a}."),
         ("Welches Tier ist das?", "Das ist {a}."), ("Was ist das auf dem Bild?", "Das ist {a}.")),
        "Ich bin nicht sicher, was das ist; es könnte {a} sein.", "Das ist {k}; es könnte {a} sein, aber ich bin nicht sicher.",
    ),
    "es": (
        (("¿Qué es esto?", "Esto es {a}."), ("¿Qué muestra la imagen?", "La imagen muestra {a}."), ("¿Qué ves?", "Veo {a}."),
         ("¿Qué hay en la foto?", "En la foto hay {a}."), ("¿Qué ves en la imagen?", "Veo {a}."), ("¿Qué animal es este?", "Es {a}."),
         ("¿Qué animal es?", "Es {a}.")),
        "No estoy seguro de qué es; puede ser {a}.", "Es {k}; puede ser {a}, pero no estoy seguro.",
    ),
    "fr": (
        (("Qu'est-ce que c'est ?", "C'est {a}."), ("Que montre l'image ?", "L'image montre {a}."), ("Que vois-tu ?", "Je vois {a}."),
         ("Qu'y a-t-il sur la photo ?", "Sur la photo, il y a {a}."), ("Que montre la photo ?", "La photo montre {a}."),
         ("Quel animal est-ce ?", "C'est {a}.")),
        "Je ne suis pas sûr de ce que c'est ; c'est peut-être {a}.", "C'est {k} ; c'est peut-être {a}, mais je ne suis pas sûr.",
    ),
}  # fmt: skip


def foreign(reading: Reading, language: Language, rng: np.random.Generator) -> tuple[str, str] | None:
    """Naming in another language, with the names that stand in the line."""
    if reading.void or reading.sense not in ("picture", "video"):
        return None
    naming, unsure, kind = _FOREIGN[language.code]
    question, pattern = naming[int(rng.integers(len(naming)))]
    a = f" {language.word('or')} ".join(language.noun(one.name) for one in reading.names)
    if reading.sure:
        return question, pattern.format(a=a)
    return question, kind.format(a=a, k=language.noun(reading.kind)) if reading.kind else unsure.format(a=a)
