"""The registry of modalities as a module for the browser, so that the page repeats nothing of it."""

import json
from collections.abc import Mapping
from typing import Any

from pandagpt_core.modalities import MODALITIES, Entry, Number, Parameter, Selection

PATH = "js/media/registry.js"


def module() -> bytes:
    """`export const REGISTRY`: an object of modalities by name."""
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
    """Its own label, or its name without the unit at its end: `focal_px` as Focal."""
    words = parameter.name.split("_")
    bare = words[:-1] if len(words) > 1 and words[-1] in _UNITS else words
    return parameter.label or " ".join(bare).capitalize()


_UNITS = ("hz", "px", "m", "s")
