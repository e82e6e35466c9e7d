"""Adds the names that a question asks for, where there is evidence, to the reading of a medium's line of words."""

from dataclasses import replace

from pandagpt_core.perception.reading import NamedConcept, Reading, Thing

SURE = 0.5  # of the probability that an asked name is there


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
