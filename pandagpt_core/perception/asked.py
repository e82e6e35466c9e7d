"""The names that a question by yes or no asks for: "Is there a dog or a cat in the picture?" asks for two.

A name behind a definite article is no name that is asked for ("Is the cat bigger than the mouse?"): it is taken to be
there. A name that is asked for, and for which there is evidence, is added to the reading of the medium.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pandagpt_core.perception.appearance import COLOUR_NAMES
from pandagpt_core.perception.languages import Language
from pandagpt_core.perception.reading import NamedConcept, Reading, Sense, Thing

_CLAUSE = re.compile(r"[.,:;!?¿¡\n]")
_WORD = re.compile(r"[^\W\d_]+")
SURE = 0.5  # of the probability that an asked name is there
_LONGEST = 4  # words of a name
_ARTICLE = 2  # words before a name among which its article is looked for
_PLURALS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("ies", "y"), ("es", ""), ("s", "")),
    "de": (("en", ""), ("n", ""), ("e", ""), ("s", ""), ("er", "")),
    "es": (("es", ""), ("s", "")),
    "fr": (("s", ""), ("x", "")),
}
# Words of a question that is about sounds alone, or about what is seen alone.
_HEARD = frozenset(["hear", "sound", "recording", "audio", "hörst", "hören", "oyes", "oír", "sonido", "entends"])
_SEEN = frozenset(
    ["see", "picture", "photo", "image", "video", "siehst", "sehen", "bild", "foto", "ves", "imagen", "vois", "voir"]
)
_VISIBLE: frozenset[Sense] = frozenset(["picture", "video", "depth", "heat"])


@dataclass(frozen=True, slots=True)
class AskedNames:
    """names: English, each once. heard, seen: whether the question is about sounds or about what is seen."""

    names: tuple[str, ...] = ()
    heard: bool = False
    seen: bool = False

    def of(self, sense: Sense) -> tuple[str, ...]:
        """Names that the question asks for, of a medium of that sense."""
        alone = self.heard != self.seen
        if alone and ((self.heard and sense != "sound") or (self.seen and sense not in _VISIBLE)):
            return ()
        return self.names


def asked_names(question: str, language: Language, vocabulary: Mapping[str, str]) -> AskedNames:
    """vocabulary: the names of things by their words in the language, in lower case ("hund": "dog")."""
    clauses = [_WORD.findall(clause) for clause in _CLAUSE.split(question.lower())]
    asking = [words for words in clauses if words and words[0] in language.asking]
    names = dict.fromkeys(name for words in asking for name in _named(words, language, vocabulary))
    used = {word for words in clauses for word in words}
    return AskedNames(tuple(names), bool(used & _HEARD), bool(used & _SEEN))


def _named(words: Sequence[str], language: Language, vocabulary: Mapping[str, str]) -> Iterator[str]:
    """The longest names, from left to right."""
    at = 1
    while at < len(words):
        size, name = _at(words, at, language, vocabulary)
        if name and not _taken_to_be_there(words, at, name, language):
            yield name
        at += max(size, 1)


def _at(words: Sequence[str], at: int, language: Language, vocabulary: Mapping[str, str]) -> tuple[int, str]:
    for size in range(min(_LONGEST, len(words) - at), 0, -1):
        for form in _singulars(" ".join(words[at : at + size]), language):
            if form in vocabulary:
                return size, vocabulary[form]
    return 0, ""


def _singulars(phrase: str, language: Language) -> Iterator[str]:
    yield phrase
    for ending, instead in _PLURALS[language.code]:
        if phrase.endswith(ending) and len(phrase) > len(ending) + 2:
            yield phrase.removesuffix(ending) + instead


def _taken_to_be_there(words: Sequence[str], at: int, name: str, language: Language) -> bool:
    before = [word for word in words[max(0, at - _ARTICLE) : at] if word in language.articles]
    if name in COLOUR_NAMES:
        return not before or before[-1] in language.definite
    return bool(before) and before[-1] in language.definite and name not in ("sun", "moon")


def stated(reading: Reading) -> Reading:
    """The reading with the asked names that are there; a name that it states already is not added again."""
    for name, share in reading.asked:
        if share >= SURE and not reading.void and name not in _names_in(reading):
            reading = _with(reading, name)
    return reading


def _with(reading: Reading, name: str) -> Reading:
    """The subject, where it had none that is sure; else one of the things."""
    if not reading.sure:
        return replace(reading, names=(NamedConcept(name),), sure=True, kind="")
    return replace(reading, things=(*reading.things, Thing(name, reading.colours, "middle")))


def _names_in(reading: Reading) -> set[str]:
    """The sure name and its kinds, the sure kind, and things."""
    subject = {reading.names[0].name, *reading.names[0].kinds} if reading.sure and reading.names else set()
    return subject | {reading.kind} | {thing.name for thing in reading.things}
