"""Request options, checked against the schema that a model system declares."""

from typing import Any

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.options import checked_options, option
from pandagpt_core.types import OptionSpec

SPECS = (
    OptionSpec("cache_size", "integer", "Neighbours.", default=10, minimum=1, maximum=100),
    OptionSpec("cache_weight", "number", "Share of the cache.", default=0.5, minimum=0, maximum=1),
    OptionSpec("task", "string", "What to do.", choices=("vqa", "refer")),
    OptionSpec("boxes", "boxes", "Places.", unit="%", minimum=0, maximum=100),
    OptionSpec("cache", "boolean", "Use it.", default=False),
)


def test_values_of_each_kind_are_taken() -> None:
    given = {"cache_size": 3, "cache_weight": 1, "task": "vqa", "boxes": [[0, 1.5, 2, 100]], "cache": True}
    assert checked_options(SPECS, given) == given | {"cache_weight": 1.0, "boxes": ((0.0, 1.5, 2.0, 100.0),)}
    assert checked_options(SPECS, {"task": None}) == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cache_size", 0, "cache_size is 0; the least is 1"),
        ("cache_size", 2.5, "a whole number"),
        ("cache_size", True, "a whole number"),
        ("cache_weight", 1.5, "cache_weight is 1.5; the limit is 1"),
        ("cache_weight", float("nan"), "a finite number"),
        ("cache_weight", "1", "a finite number"),
        ("task", "sing", "one of vqa, refer"),
        ("task", 3, "a string"),
        ("boxes", [[0, 0, 101, 0]], "boxes is 101 %; the limit is 100 %"),
        ("boxes", [[0, 0, 1]], "left, top, right, bottom"),
        ("boxes", "0,0,1,1", "a list of boxes"),
        ("boxes", [[0, 0, 1, 1]] * 65, "65 boxes; the limit is 64"),
        ("cache", 1, "true or false"),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused_by_name(name: str, value: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        checked_options(SPECS, {name: value})
    assert refused.value.param == f"options.{name}"


def test_a_bound_that_came_as_a_float_is_named_as_the_whole_number_it_is() -> None:
    spec = OptionSpec("cache_size", "integer", "rows", unit="rows", default=1, minimum=0.0, maximum=1000.0)
    with pytest.raises(InvalidRequest, match=r"cache_size is 1001 rows; the limit is 1000 rows$"):
        checked_options((spec,), {"cache_size": 1001})


def test_an_unknown_option_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(InvalidRequest, match="boxes, cache, cache_size, cache_weight, task"):
        checked_options(SPECS, {"cash": 1})


def test_an_absent_option_has_its_default() -> None:
    assert option(SPECS, {}, "cache_size") == 10
    assert option(SPECS, {"cache_size": 4}, "cache_size") == 4
