"""A conversation about one reading: up to four questions of different kinds."""

from collections.abc import Callable, Sequence

import numpy as np

from pandagpt_core.perception.reading import Reading
from recipes.panda_mini.talks.describing import ask_describe, ask_json
from recipes.panda_mini.talks.looks import ask_bigger, ask_colour, ask_count, ask_where
from recipes.panda_mini.talks.naming import ask_name
from recipes.panda_mini.talks.words import Talk, TalkVocabulary
from recipes.panda_mini.talks.yes_no import ask_yes_no

Question = Callable[[Reading, TalkVocabulary, np.random.Generator], tuple[str, str] | None]

# Each kind of question with its odds; those of the second table need a picture or a video.
_ANY: Sequence[tuple[float, Question]] = (
    (0.24, lambda reading, _vocabulary, rng: ask_name(reading, rng)),
    (0.24, ask_yes_no),
    (0.12, lambda reading, _vocabulary, rng: ask_describe(reading, rng)),
)
_VISUAL: Sequence[tuple[float, Question]] = (
    (0.16, lambda reading, _vocabulary, rng: ask_colour(reading, rng)),
    (0.1, ask_count),
    (0.1, lambda reading, _vocabulary, rng: ask_where(reading, rng)),
    (0.06, lambda reading, _vocabulary, rng: ask_bigger(reading, rng)),
    (0.05, lambda reading, _vocabulary, rng: ask_json(reading, rng)),
)


def draw_talk(reading: Reading, vocabulary: TalkVocabulary, rng: np.random.Generator, most: int = 4) -> Talk:
    """Up to `most` questions about one reading, a naming question among them more often than not."""
    kinds = [*_ANY, *(_VISUAL if reading.sense in ("picture", "video") else ())]
    odds = [odd for odd, _ in kinds]
    talk: Talk = []
    count = int(rng.integers(2, most + 1))
    shares = np.array(odds) / sum(odds)
    for _ in range(3 * count):
        if len(talk) == count:
            break
        _, ask = kinds[int(rng.choice(len(kinds), p=shares))]
        asked = ask(reading, vocabulary, rng)
        if asked is not None and asked[0] not in [question for question, _ in talk]:
            talk.append(asked)
    return talk or [ask_name(reading, rng)]
