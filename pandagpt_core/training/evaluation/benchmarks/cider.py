"""CIDEr-D (Vedantam et al. 2015, section 4): how well a caption's words agree with several people's.

tf-idf weights of n-grams of 1 to 4 words over the set's references, cosines with counts clipped, a Gaussian of the
difference in length, times 10. Words are lower case without punctuation. The published scripts cut words by the Penn
Treebank's rules, in Java; figures differ from theirs where those cut otherwise (clitics: "dog's").
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

LONGEST = 4  # words of an n-gram
SIGMA = 6.0
SCALE = 10.0
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

Grams = Counter[tuple[str, ...]]
TermWeights = Mapping[tuple[str, ...], float]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """The score of each caption against its own references; their frequencies are those of the whole set."""
    held = [[_grams(words(text)) for text in group] for group in references]
    documents = Counter(gram for group in held for gram in {gram for grams in group for gram in grams})
    total = math.log(max(len(held), 1))

    def weighed(grams: Grams) -> list[TermWeights]:
        vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
        for gram, count in grams.items():
            vectors[len(gram) - 1][gram] = count * (total - math.log(max(documents[gram], 1)))
        return list(vectors)

    scores = []
    for caption, group in zip(captions, held, strict=True):
        grams = _grams(words(caption))
        ours, length = weighed(grams), _length(grams)
        each = [_likeness(ours, weighed(other), length - _length(other)) for other in group]
        scores.append(SCALE * sum(each) / len(each))
    return scores


def _likeness(one: Sequence[TermWeights], other: Sequence[TermWeights], longer: int) -> float:
    """The mean over n of the clipped cosine, less the longer or shorter a caption is."""
    penalty = math.exp(-(longer**2) / (2 * SIGMA**2))
    return sum(_cosine(ours, theirs) for ours, theirs in zip(one, other, strict=True)) / LONGEST * penalty


def _cosine(ours: TermWeights, theirs: TermWeights) -> float:
    norms = _norm(ours) * _norm(theirs)
    shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs)
    return shared / norms if norms else shared


def _norm(vector: TermWeights) -> float:
    return math.sqrt(sum(value**2 for value in vector.values()))


def _grams(found: Sequence[str]) -> Grams:
    return Counter(
        tuple(found[start : start + n]) for n in range(1, LONGEST + 1) for start in range(len(found) - n + 1)
    )


def _length(grams: Grams) -> int:
    """In pairs of words, as the released code counts it."""
    return sum(count for gram, count in grams.items() if len(gram) == 2)
