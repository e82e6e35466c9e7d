"""Parameters that come beside a medium (units, rates), read with their names, types and ranges checked."""

import math
from collections.abc import Collection, Mapping

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.modalities.entry import Entry, Number, Selection

Params = Mapping[str, float | str]


def only(params: Params, allowed: Collection[str] = ()) -> None:
    """Refuse parameters that the recipe does not know, so that a mistyped one is never ignored."""
    for name in params:
        if name not in allowed:
            known = f"it takes {', '.join(sorted(allowed))}" if allowed else "it takes none"
            raise InvalidMedia(f"unknown parameter for this medium; {known}", param=name)


def of_entry(params: Params, entry: Entry) -> None:
    """Refuse what the entry does not declare, and numbers beyond their range, even those that a file's unit drops."""
    only(params, entry.parameter_names)
    for one in entry.parameters:
        if isinstance(one, Number):
            number(params, one)


def number(params: Params, parameter: Number) -> float | None:
    """The parameter as a finite float within its range, or None where it is absent."""
    name, low, high = parameter.name, parameter.low, parameter.high
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidMedia(f"{name} must be a finite number", param=name)
    if not low <= value <= high:
        raise InvalidMedia(f"{name} is {value:.15g}; it must be between {low:g} and {high:g}", param=name)
    return float(value)


def required(params: Params, parameter: Number, why: str) -> float:
    value = number(params, parameter)
    if value is None:
        raise InvalidMedia(f"{parameter.name} is required: {why}", param=parameter.name)
    return value


def choice(params: Params, parameter: Selection) -> str:
    """The parameter as one of its values. The caller's own value is not echoed."""
    value = params.get(parameter.name)
    if not isinstance(value, str) or value not in parameter.values:
        raise InvalidMedia(f"{parameter.name} must be one of {', '.join(parameter.values)}", param=parameter.name)
    return value
