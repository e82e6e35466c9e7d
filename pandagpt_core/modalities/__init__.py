"""The registry of modalities: the one place that a name, a parameter, a limit or a file suffix of a medium stands in.

Content parts, form fields, weights, usage counts, the command line, the decoders' warm-up, OpenAPI and docs/media.md
derive from it. Standard library only. A modality is added by its media module, its entry in `builtin` and a tower;
another package adds one by an entry point of the group `pandagpt.modalities` that names an `Entry`, in a module that
imports `pandagpt_core.modalities.entry` alone of this project.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from pandagpt_core.modalities import builtin
from pandagpt_core.modalities.entry import Composition, Entry, Number, Parameter, Recipe, Selection, Value

GROUP = "pandagpt.modalities"


def _registered() -> Mapping[str, Entry]:
    entries = {entry.name: entry for entry in builtin.ENTRIES}
    for found in entry_points(group=GROUP):
        entry = found.load()
        if not isinstance(entry, Entry) or entry.name in entries:
            raise ValueError(f"the entry point {found.name!r} of {GROUP} names no new modality")
        entries[entry.name] = entry
    return MappingProxyType(entries)


MODALITIES = _registered()
_ALL = (*(recipe for entry in MODALITIES.values() for recipe in entry.recipes), *builtin.TOOLS)
# Readers of the recipes: name -> (module, function).
RECIPES: Mapping[str, tuple[str, str]] = MappingProxyType({recipe.name: recipe.place for recipe in _ALL})
READINGS: Mapping[str, int] = MappingProxyType({recipe.name: recipe.reading for recipe in _ALL})
FILE_MODALITIES = tuple(name for name, entry in MODALITIES.items() if entry.is_file)


def same_form(modality: str, one: str, other: str) -> bool:
    """Whether two recipes of the modality give arrays of one form, so that a tower reads either."""
    forms = {recipe.name: recipe.array for recipe in MODALITIES[modality].recipes}
    return one == other or (forms.get(one, "") != "" and forms.get(one) == forms.get(other))


def parameters_of(recipes: Mapping[Any, str], modality: str) -> tuple[Parameter, ...]:
    """The parameters that a model with these recipes (by modality) takes beside a medium of the modality.

    All of the modality's where this build has no such recipe.
    """
    entry = MODALITIES[modality]
    without = next((one.without for one in entry.recipes if one.name == recipes.get(modality)), ())
    return tuple(one for one in entry.parameters if one.name not in without and _composes(one, recipes))


def _composes(parameter: Parameter, recipes: Mapping[Any, str]) -> bool:
    return not isinstance(parameter, Composition) or parameter.modality in recipes


def check_recipes(recipes: Mapping[Any, str]) -> None:
    """Assert that each modality of an encoder's table is registered with the recipe it names."""
    for modality, recipe in recipes.items():
        known = [one.name for one in MODALITIES[modality].recipes]
        assert recipe in known, f"{modality} has no recipe {recipe}; it has {', '.join(known)}"


__all__ = [
    "FILE_MODALITIES",
    "GROUP",
    "MODALITIES",
    "READINGS",
    "RECIPES",
    "Composition",
    "Entry",
    "Number",
    "Parameter",
    "Recipe",
    "Selection",
    "Value",
    "check_recipes",
    "parameters_of",
    "same_form",
]
