"""Options of the command line as the strongest source of settings."""

import argparse


def overrides(arguments: argparse.Namespace, **places: str) -> dict[str, dict[str, object]]:
    """The options that were given: section -> name -> value. `places` maps an option to its `section.name`."""
    given: dict[str, dict[str, object]] = {}
    for option, place in places.items():
        value = getattr(arguments, option)
        if value is not None:
            section, name = place.split(".")
            given.setdefault(section, {})[name] = value
    return given
