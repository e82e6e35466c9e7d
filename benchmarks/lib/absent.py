"""The reason why a contestant could not be measured; a report lists it."""


class Absent(Exception):
    """The message is the reason, in a few words and without a path."""
