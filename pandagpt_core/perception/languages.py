"""The languages that a line of words can be in, and how a question's language is found."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pandagpt_core.perception.french import FRENCH_NAMES, FRENCH_WORDS
from pandagpt_core.perception.german import GERMAN_NAMES, GERMAN_WORDS
from pandagpt_core.perception.spanish import SPANISH_NAMES, SPANISH_WORDS

_THE = frozenset({"sun", "moon"})
# fmt: off
_NO_ARTICLE = frozenset((
    "rain", "wind", "applause", "fireworks", "tennis", "badminton", "baseball", "basketball", "grapes", "cherries",
    "scissors", "glasses", "maracas", "corn", "garlic", "broccoli", "bread", "cheese", "coffee", "beer", "wine",
    "fire", "ice cream", "skis", "people", "food", "clothing", "furniture", "flowers", "pajamas", "sunglasses",
))
_SOMEONE = frozenset({"running", "walking", "standing", "swimming", "cycling", "skiing", "surfing"})
# fmt: on


def english_noun(name: str) -> str:
    """With its article: "a dog", "an apple", "rain", "the sun", "someone running"."""
    if name in _SOMEONE:
        return f"someone {name}"
    if name in _NO_ARTICLE:
        return name
    if name in _THE:
        return f"the {name}"
    return f"{'an' if name[0] in 'aeiou' and not name.startswith('uni') else 'a'} {name}"


@dataclass(frozen=True, slots=True)
class Language:
    """names: of things, with an article. words: everything else, by the English word. marks: of a question. asking:
    first words of a question by yes or no. definite, indefinite: articles, and what stands in their place."""

    code: str
    names: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    asking: frozenset[str] = frozenset()
    definite: frozenset[str] = frozenset()
    indefinite: frozenset[str] = frozenset()

    @property
    def articles(self) -> frozenset[str]:
        return self.definite | self.indefinite

    def word(self, english: str) -> str:
        return self.words.get(english, english)

    def noun(self, english: str) -> str:
        """With an article."""
        return self.names.get(english) or english_noun(english)

    def bare(self, english: str) -> str:
        """Without one."""
        named = self.names.get(english)
        return named.partition(" ")[2] or named if named else english


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


ENGLISH = Language(
    "en",
    asking=_set("is are was were do does did can could has have isn aren don doesn"),  # "isn't" is two words
    definite=_set("the its his her their your my"),
    indefinite=_set("a an any some one another no"),
)
LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        "en": ENGLISH,
        "de": Language(
            "de",
            GERMAN_NAMES,
            GERMAN_WORDS,
            frozenset(
                [
                    "was",
                    "ist",
                    "das",
                    "welches",
                    "welche",
                    "wie",
                    "viele",
                    "zeigt",
                    "bild",
                    "foto",
                    "siehst",
                    "du",
                    "auf",
                    "dem",
                    "zu",
                    "sehen",
                    "der",
                    "die",
                    "ein",
                ]
            ),
            asking=_set("ist sind gibt siehst sieht hörst hört zeigt kannst kann hat enthält erkennst"),
            definite=_set("der die das den dem des dieser diese dieses diesen"),
            indefinite=_set("ein eine einen einem einer kein keine keinen"),
        ),
        "es": Language(
            "es",
            SPANISH_NAMES,
            SPANISH_WORDS,
            frozenset(
                [
                    "qué",
                    "es",
                    "esto",
                    "esta",
                    "este",
                    "cuál",
                    "cuántos",
                    "cuántas",
                    "imagen",
                    "foto",
                    "ves",
                    "en",
                    "la",
                    "el",
                    "hay",
                    "de",
                    "muestra",
                    "color",
                ]
            )
            - {"color"},
            asking=_set("hay es son ves se está están oyes escuchas muestra aparece contiene tiene puedes"),
            definite=_set("el la los las este esta estos estas"),
            indefinite=_set("un una unos unas algún alguna"),
        ),
        "fr": Language(
            "fr",
            FRENCH_NAMES,
            FRENCH_WORDS,
            frozenset(
                [
                    "qu",
                    "est",
                    "ce",
                    "que",
                    "c",
                    "quel",
                    "quelle",
                    "combien",
                    "vois",
                    "tu",
                    "montre",
                    "la",
                    "le",
                    "image",
                    "photo",
                    "animal",
                    "sur",
                    "y",
                ]
            )
            - {"image", "photo", "animal"},
            asking=_set("est y vois voit voyez entends sont a contient montre peux c il"),
            definite=_set("le la les l ce cet cette ces"),
            indefinite=_set("un une des d du"),
        ),
    }
)
_SURE = 2  # words of a language that show it


def language_of(question: str) -> Language:
    """The language with the most distinctive words, of which there must be two; English otherwise."""
    words = re.findall(r"[^\W\d_]+", question.lower())
    counts = {code: sum(word in each.marks for word in words) for code, each in LANGUAGES.items()}
    best = max(counts, key=lambda code: counts[code])
    english = sum(word in _ENGLISH for word in words)
    return LANGUAGES[best] if counts[best] >= _SURE and counts[best] > english else ENGLISH


_ENGLISH = frozenset(
    [
        "what",
        "is",
        "the",
        "this",
        "picture",
        "in",
        "it",
        "a",
        "an",
        "how",
        "many",
        "are",
        "there",
        "where",
        "do",
        "you",
        "see",
        "photo",
        "of",
        "and",
    ]
)
