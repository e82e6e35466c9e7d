"""Questions about a scene with their exact answers, in MiniGPT-v2's tasks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pandagpt_core.boxes import write_box, write_boxes
from pandagpt_core.encoders.grid.lines import place_of
from pandagpt_core.training.minigpt_v2.words import worded
from recipes.panda_locate.plans import in_order
from recipes.panda_locate.things import COLOURS, NAMES, PLACES, DrawnThing, plural


@dataclass(frozen=True, slots=True)
class LocateQuestion:
    """`kind`: the measure. `truth`: the things that a question about places is about."""

    kind: str
    text: str
    answer: str
    truth: tuple[DrawnThing, ...] = ()


Things = Sequence[DrawnThing]
Asked = LocateQuestion | None  # None where the scene has nothing to ask for


def place(thing: DrawnThing) -> str:
    return PLACES[int(place_of(torch.tensor(thing.box)))]


def ask(things: Things, rng: np.random.Generator, count: int) -> list[LocateQuestion]:
    """`count` different questions, or fewer where a scene gives no more."""
    found: dict[str, LocateQuestion] = {}
    for _ in range(4 * count):
        made = _KINDS[int(rng.choice(len(_KINDS), p=_ODDS))](things, rng)
        if made is not None:
            found.setdefault(made.text, made)
        if len(found) == count:
            break
    return list(found.values())


def refer(things: Things, rng: np.random.Generator) -> Asked:
    """A thing by what no other of the scene is called."""
    thing = _any(things, rng)
    counts = Counter(one.noun for one in things)
    phrases = [thing.noun] if counts[thing.noun] == 1 else []
    if thing.shade is not None and sum(one.phrase == thing.phrase for one in things) == 1:
        phrases.append(thing.phrase)
    if not phrases:
        return None
    phrase = phrases[int(rng.integers(len(phrases)))]
    return LocateQuestion("refer", worded("refer", int(rng.integers(3)), phrase), write_box(thing.box), (thing,))


def detect(things: Things, rng: np.random.Generator) -> Asked:
    noun = _any(things, rng).noun
    those = in_order([one for one in things if one.noun == noun])
    answer = f"<p>{noun}</p> {write_boxes(one.box for one in those)}"
    return LocateQuestion("detection", worded("detection", 0, noun), answer, tuple(those))


def identify(things: Things, rng: np.random.Generator) -> Asked:
    thing = _any(things, rng)
    near = np.array(thing.box) + rng.normal(0, 0.008, 4)  # a caller's box is never quite the truth's
    left, top, right, bottom = (float(side) for side in near.clip(0.0, 0.99))
    text = worded("identify", int(rng.integers(2)), write_box((left, top, right, bottom)))
    return LocateQuestion("identify", text, thing.phrase, (thing,))


def colour(things: Things, rng: np.random.Generator) -> Asked:
    every = colours(things)
    return every[int(rng.integers(len(every)))] if every else None


def colours(things: Things) -> list[LocateQuestion]:
    """Of each thing that has a colour and shares its name with no other."""
    alone = [one for one in things if one.shade and sum(other.noun == one.noun for other in things) == 1]
    return [_vqa("colour", f"what colour is the {one.noun}?", one.shade or "", (one,)) for one in alone]


def count(things: Things, rng: np.random.Generator) -> Asked:
    if rng.random() < 0.15:
        return _vqa("count", "how many things are there?", str(len(things)))
    absent = rng.random() < 0.1
    noun = NAMES[int(rng.integers(len(NAMES)))] if absent else _any(things, rng).noun
    return _vqa("count", f"how many {plural(noun)} are there?", str(sum(one.noun == noun for one in things)))


def where(things: Things, rng: np.random.Generator) -> Asked:
    alone = [one for one in things if sum(other.noun == one.noun for other in things) == 1]
    if not alone:
        return None
    thing = _any(alone, rng)
    return _vqa("where", f"where is the {thing.noun}?", place(thing), (thing,))


def what(things: Things, rng: np.random.Generator) -> Asked:
    """Of a place that has one thing, or of a whole picture with one."""
    if len(things) == 1 and rng.random() < 0.5:
        return _vqa("what", "what is in the picture?", things[0].noun)
    thing = _any(things, rng)
    at = place(thing)
    if sum(place(one) == at for one in things) > 1:
        return None
    return _vqa("what", f"what is at the {at}?", thing.noun, (thing,))


def which(things: Things, rng: np.random.Generator) -> Asked:
    """A question for the thing of a colour; None if the colour has another number of things than one."""
    shade = tuple(COLOURS)[int(rng.integers(len(COLOURS)))]
    those = [one for one in things if one.shade == shade]
    return _vqa("what", f"what is {shade}?", those[0].noun, (those[0],)) if len(those) == 1 else None


def ground(things: Things, _rng: np.random.Generator) -> Asked:
    """Every thing with its place."""
    answer = ", ".join(f"<p>{one.phrase}</p> {write_box(one.box)}" for one in in_order(list(things)))
    return LocateQuestion("grounding", worded("grounding", 0), answer, tuple(in_order(list(things))))


def _vqa(kind: str, question: str, answer: str, truth: tuple[DrawnThing, ...] = ()) -> LocateQuestion:
    return LocateQuestion(kind, worded("vqa", 0, question), answer, truth)


def _any(things: Things, rng: np.random.Generator) -> DrawnThing:
    return things[int(rng.integers(len(things)))]


Ask = Callable[[Things, np.random.Generator], Asked]
_SHARES: tuple[tuple[Ask, float], ...] = (
    (refer, 1.2),
    (detect, 1.4),
    (identify, 0.7),
    (colour, 1.5),
    (count, 1.5),
    (where, 1.5),
    (what, 0.6),
    (which, 0.3),
    (ground, 0.2),
)
_KINDS = tuple(kind for kind, _ in _SHARES)
_ODDS = np.array([share for _, share in _SHARES]) / sum(share for _, share in _SHARES)
