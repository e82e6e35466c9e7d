"""Values of request options, checked against the schema that a model system declares. Standard library only."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import OptionKind, OptionSpec, OptionValue

MAX_TEXT = 1000  # characters of a string
MAX_BOXES = 64


def checked_options(
    specs: Sequence[OptionSpec], given: Mapping[str, Any], param: str = "options"
) -> dict[str, OptionValue]:
    """The given values, each of its option's kind and range; options that are absent or None are left out.

    Raises InvalidRequest that names the option as `<param>.<name>`, the limit and the value.
    """
    by_name = {spec.name: spec for spec in specs}
    checked: dict[str, OptionValue] = {}
    for name, value in given.items():
        if name not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise InvalidRequest(f"the model has no such option; its options are: {known}", param=param)
        if value is not None:
            checked[name] = _CHECKS[by_name[name].kind](by_name[name], value, f"{param}.{name}")
    return checked


def option(specs: Sequence[OptionSpec], options: Mapping[str, OptionValue], name: str) -> Any:
    """The value of an option, its default where it is absent."""
    spec = next(spec for spec in specs if spec.name == name)
    return options.get(name, spec.default)


def _boolean(spec: OptionSpec, value: Any, param: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(spec, "true or false", param)
    return value


def _integer(spec: OptionSpec, value: Any, param: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(spec, "a whole number", param)
    _check_range(spec, value, param)
    return value


def _number(spec: OptionSpec, value: Any, param: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise _wrong(spec, "a finite number", param)
    _check_range(spec, value, param)
    return float(value)


def _is_finite(value: float) -> bool:
    """Whether it is a finite float; an integer may be beyond all of them."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _string(spec: OptionSpec, value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise _wrong(spec, "a string", param)
    if spec.choices and value not in spec.choices:
        raise _wrong(spec, f"one of {', '.join(spec.choices)}", param)
    if len(value) > MAX_TEXT:
        raise InvalidRequest(f"{spec.name} has {len(value)} characters; the limit is {MAX_TEXT}", param=param)
    return value


def _boxes(spec: OptionSpec, value: Any, param: str) -> OptionValue:
    if not isinstance(value, list | tuple):
        raise _wrong(spec, "a list of boxes", param)
    if len(value) > MAX_BOXES:
        raise InvalidRequest(f"{spec.name} has {len(value)} boxes; the limit is {MAX_BOXES}", param=param)
    if not all(isinstance(box, list | tuple) and len(box) == 4 for box in value):
        raise _wrong(spec, "a list of [left, top, right, bottom]", param)
    sides = [[_number(spec, side, param) for side in box] for box in value]
    return tuple((left, top, right, bottom) for left, top, right, bottom in sides)


_CHECKS: Mapping[OptionKind, Callable[[OptionSpec, Any, str], OptionValue]] = MappingProxyType(
    {"boolean": _boolean, "integer": _integer, "number": _number, "string": _string, "boxes": _boxes}
)


def _check_range(spec: OptionSpec, value: float, param: str) -> None:
    unit = f" {spec.unit}" if spec.unit else ""
    if spec.minimum is not None and value < spec.minimum:
        raise InvalidRequest(f"{spec.name} is {value}{unit}; the least is {_figure(spec.minimum)}{unit}", param=param)
    if spec.maximum is not None and value > spec.maximum:
        raise InvalidRequest(f"{spec.name} is {value}{unit}; the limit is {_figure(spec.maximum)}{unit}", param=param)


def _figure(value: float) -> str:
    """A bound, which is a float once it has come from the store, without the ".0" of a whole number."""
    return str(int(value)) if float(value).is_integer() else str(value)


def _wrong(spec: OptionSpec, expected: str, param: str) -> InvalidRequest:
    return InvalidRequest(f"{spec.name} must be {expected}", param=param)
