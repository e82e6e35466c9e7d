"""The page's modules of JavaScript: the imports of each, and one that is written here, the registry of modalities.

A browser needs the modules that the first one imports by name, and theirs in turn, before that one runs. A module that
only its importer names is fetched one round trip later; the index names all of them instead. Modules behind `import()`
are not among them.
"""

import json
import re
from collections.abc import Mapping
from posixpath import dirname, join, normpath
from typing import Any

from pandagpt_core.modalities import MODALITIES, Entry, Number, Parameter, Selection

_STATIC = re.compile(r'^(?:import|export)\b[^;"]*?"(\.[^"]+)"', re.MULTILINE)
_LATER = re.compile(r'\bimport\("(\.[^"]+)"\)')
REGISTRY = "js/media/registry.js"  # the path of the module that is written here
_UNITS = ("hz", "px", "m", "s")


def needed_at_once(path: str, files: Mapping[str, bytes]) -> list[str]:
    """The module at `path` and all that it imports, each after the one that names it first."""
    found = [path]
    for module in found:
        found += [one for one in named(module, files[module], _STATIC) if one not in found]
    return found


def imported(path: str, content: bytes) -> list[str]:
    """Every module that this one names, at once or later."""
    return [*named(path, content, _STATIC), *named(path, content, _LATER)]


def named(path: str, content: bytes, pattern: re.Pattern[str]) -> list[str]:
    """Paths of the modules that the pattern finds in the module at `path`."""
    places = dict.fromkeys(pattern.findall(content.decode()))
    return [normpath(join(dirname(path), place)) for place in places]


def registry() -> bytes:
    """The registry as a module, so that the page repeats nothing of it.

    `export const REGISTRY`: an object of modalities by name.
    """
    described = {name: _entry(entry) for name, entry in MODALITIES.items()}
    words = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    return f"/** The service's registry of modalities. */\nexport const REGISTRY = {words};\n".encode()


def _entry(entry: Entry) -> Mapping[str, Any]:
    fields = {one.name: {"form": entry.form_field(one), **_parameter(one)} for one in entry.parameters}
    suffixes = {"suffixes": list(entry.mime), "named": list(entry.named)}
    return {"label": entry.noun, "isFile": entry.is_file, "own": bool(entry.own), **suffixes, "fields": fields}


def _parameter(parameter: Parameter) -> Mapping[str, Any]:
    common = {"label": _title(parameter), "about": parameter.about}
    if isinstance(parameter, Number):
        return {**common, "kind": "number", "low": parameter.low, "high": parameter.high, "unit": parameter.unit}
    if isinstance(parameter, Selection):
        return {**common, "kind": "choice", "values": list(parameter.values)}
    return {**common, "kind": "switch"}


def _title(parameter: Parameter) -> str:
    """The parameter's own label, or its name without the unit at its end: `focal_px` as Focal."""
    words = parameter.name.split("_")
    bare = words[:-1] if len(words) > 1 and words[-1] in _UNITS else words
    return parameter.label or " ".join(bare).capitalize()
