"""Parameters that come beside a medium (units, rates), read with their names, types and ranges checked."""

import math
from collections.abc import Collection, Mapping

from pandagpt_core.errors import InvalidMedia

Params = Mapping[str, float | str]


def only(params: Params, allowed: Collection[str] = ()) -> None:
    """Refuse parameters that the recipe does not know, so that a mistyped one is never ignored."""
    for name in params:
        if name not in allowed:
            known = f"it takes {', '.join(sorted(allowed))}" if allowed else "it takes none"
            raise InvalidMedia(f"unknown parameter for this medium; {known}", param=name)


def number(params: Params, name: str, low: float, high: float) -> float | None:
    """The parameter as a finite float within [low, high], or None where it is absent."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidMedia(f"{name} must be a finite number", param=name)
    if not low <= value <= high:
        raise InvalidMedia(f"{name} is {value:g}; it must be between {low:g} and {high:g}", param=name)
    return float(value)


def required(params: Params, name: str, low: float, high: float, why: str) -> float:
    value = number(params, name, low, high)
    if value is None:
        raise InvalidMedia(f"{name} is required: {why}", param=name)
    return value


def choice(params: Params, name: str, allowed: Collection[str]) -> str:
    """The parameter as one of `allowed`. The caller's own value is not echoed."""
    value = params.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidMedia(f"{name} must be one of {', '.join(allowed)}", param=name)
    return value
