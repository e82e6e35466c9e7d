"""VQA's comparison of answers (Antol et al. 2015 and its evaluation page): text made alike, then agreement with people.

An answer counts by how many of the other nine people gave it: min(1, n / 3), averaged over leaving each person out.
"""

import re
from collections.abc import Sequence

ARTICLES = frozenset({"a", "an", "the"})
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)} | {"none": "0"}
_WITH_APOSTROPHE = """
    ain't aren't can't couldn't could've didn't doesn't don't hadn't hasn't haven't he'd he's how'd how's i'd i'm i've
    isn't it'd it'll let's ma'am might've mightn't mustn't must've needn't not've o'clock oughtn't shan't she's
    should've shouldn't somebody's someone's something's that'd that's there'd there're there's they'd they'll they're
    they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's
    who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
CONTRACTIONS = {word.replace("'", ""): word for word in _WITH_APOSTROPHE.split()}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGITS_COMMA = re.compile(r"(\d)(,)(\d)")
_PERIOD = re.compile(r"\.(?!\d)")


def alike(text: str) -> str:
    """The text as it is compared: lower case, no punctuation or article, numbers as digits, contractions whole."""
    text = text.replace("\n", " ").replace("\t", " ").strip().lower()
    text = _without_punctuation(text)
    kept = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in kept if word not in ARTICLES)


def agreement(answer: str, people: Sequence[str]) -> float:
    """Of 0 to 1. `people` are usually ten answers."""
    ours, theirs = alike(answer), [alike(one) for one in people]
    if len(theirs) < 2:
        return float(ours in theirs)
    shares = [min(1.0, sum(ours == one for one in _without(theirs, left_out)) / 3) for left_out in range(len(theirs))]
    return sum(shares) / len(shares)


def _without(items: Sequence[str], index: int) -> list[str]:
    return [*items[:index], *items[index + 1 :]]


def _without_punctuation(text: str) -> str:
    """A mark that stands beside a space anywhere goes; one that only stands between letters becomes a space."""
    has_comma_number = _DIGITS_COMMA.search(text) is not None
    kept = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if beside_space or has_comma_number else " ")
    return _PERIOD.sub("", kept)
