"""The registry: its entries fit together, and all lists derived from it have every entry."""

import importlib
import json
import math
from dataclasses import fields
from pathlib import Path

import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from pandagpt_core.modalities import (
    FILE_MODALITIES,
    MODALITIES,
    RECIPES,
    Composition,
    Entry,
    Number,
    Parameter,
    Recipe,
    Value,
    check_recipes,
    parameters_of,
)
from pandagpt_core.types import Modality
from service.broker.protocol import Started
from service.gateway.decoding.warmup import make_sample
from service.gateway.schema.answers import Details
from service.gateway.schema.content_parts import LINK_PARTS
from service.gateway.schema.requests import GenerateForm, Weights
from service.gateway.streaming.chunks import ResponseMetadata, usage

entries = pytest.mark.parametrize("entry", MODALITIES.values(), ids=str)


@entries
def test_a_sample_is_decoded_by_every_recipe_of_its_modality(entry: Entry) -> None:
    for recipe in entry.recipes:
        assert load(recipe.name, make_sample(entry), entry.sample_params, Limits()).size > 0


@entries
def test_limits_are_fields_of_the_limits(entry: Entry) -> None:
    assert set(entry.limits) <= {one.name for one in fields(Limits)}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_a_function(name: str) -> None:
    module, function = RECIPES[name]
    assert callable(getattr(importlib.import_module(module), function))


def test_no_two_modalities_claim_a_suffix_or_a_recipe() -> None:
    suffixes = [suffix for entry in MODALITIES.values() for suffix in entry.mime]
    recipes = [recipe.name for entry in MODALITIES.values() for recipe in entry.recipes]
    assert len(suffixes) == len(set(suffixes))
    assert len(recipes) == len(set(recipes))


def test_members_parts_weights_and_counts_are_those_of_the_registry() -> None:
    assert [modality.value for modality in Modality] == list(MODALITIES) == list(Weights.model_fields)
    assert tuple(LINK_PARTS) == FILE_MODALITIES
    assert {f"{name}_items" for name in MODALITIES} <= set(Details.model_fields)


@entries
def test_every_parameter_has_a_field_of_the_form(entry: Entry) -> None:
    assert {entry.form_field(one) for one in entry.parameters} <= set(GenerateForm.model_fields)


def test_a_recipe_not_registered_for_its_modality_is_the_encoders_error() -> None:
    check_recipes({"image": "lite0-image-v1"})
    with pytest.raises(AssertionError, match="image has no recipe clip-bpe-v1"):
        check_recipes({"image": "clip-bpe-v1"})


def value_of(parameter: Parameter) -> Value:
    return parameter.high if isinstance(parameter, Number) else getattr(parameter, "values", ("true",))[0]


@entries
def test_a_recipe_takes_the_parameters_that_the_registry_gives_it(entry: Entry) -> None:
    """A composition never reaches a recipe: the gateway makes two media of it."""
    for recipe in entry.recipes:
        taken = parameters_of({entry.name: recipe.name}, entry.name)
        for one in entry.parameters:
            if isinstance(one, Composition):
                continue
            try:
                load(recipe.name, make_sample(entry), {**entry.sample_params, one.name: value_of(one)}, Limits())
                known = True
            except InvalidMedia as error:
                known = "unknown parameter" not in str(error)
            assert known == (one in taken), (recipe.name, one.name)


NUMBERS = [
    pytest.param(entry, recipe, one, id=f"{recipe.name}-{one.name}")
    for entry in MODALITIES.values()
    for recipe in entry.recipes
    for one in parameters_of({entry.name: recipe.name}, entry.name)
    if isinstance(one, Number)
]


def refusal(entry: Entry, recipe: Recipe, number: Number, value: float) -> InvalidMedia | None:
    """Of the entry's sample with this value of the number; None where the sample is read."""
    try:
        load(recipe.name, make_sample(entry), {**entry.sample_params, number.name: value}, Limits())
    except InvalidMedia as error:
        return error
    return None


@pytest.mark.parametrize(("entry", "recipe", "number"), NUMBERS)
def test_a_recipe_takes_both_ends_of_a_range_and_names_it_beyond_them(
    entry: Entry, recipe: Recipe, number: Number
) -> None:
    for end in (number.low, number.high):
        error = refusal(entry, recipe, number, end)
        assert error is None or "must be between" not in error.message, error
    for beyond in (math.nextafter(number.low, -math.inf), math.nextafter(number.high, math.inf)):
        error = refusal(entry, recipe, number, beyond)
        assert error is not None
        assert error.param == number.name
        assert f"it must be between {number.low:g} and {number.high:g}" in error.message


def test_a_composition_needs_a_model_that_takes_its_modality() -> None:
    film = {"video": "lite0-video-v1"}
    assert parameters_of(film, "video") == ()
    assert [one.name for one in parameters_of({**film, "audio": "mixed-audio-v1"}, "video")] == ["use_audio"]


def test_of_an_unknown_recipe_every_parameter_is_offered() -> None:
    assert parameters_of({"audio": "of-tomorrow"}, "audio") == MODALITIES["audio"].parameters


def test_usage_counts_every_modality() -> None:
    answer = ResponseMetadata(id="x", model="m", created=0, items={"imu": 2})
    details = usage(answer, Started(prompt_tokens=1), 1)["prompt_tokens_details"]
    assert {name: details[f"{name}_items"] for name in MODALITIES} == dict.fromkeys(MODALITIES, 0) | {"imu": 2}


def test_a_file_is_inspected_as_the_default_model_reads_it(root: Path) -> None:
    recipes = json.loads((root / "models/panda-mini/config.json").read_text(encoding="utf-8"))["recipes"]
    assert {name: MODALITIES[name].inspected_by for name in recipes} == recipes
