"""Parameters that a file of a map names itself: an archive's scalars and matrices, tags, attributes, EXIF.

The caller's own value wins, and a warning names both where they differ. A name is taken in the words that people's
files use; a parameter that no name gives is not guessed.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

import msgspec
import numpy as np
from PIL import Image

from pandagpt_core.media import notes
from pandagpt_core.media.notes import Known
from pandagpt_core.media.params import Params
from pandagpt_core.modalities.entry import Entry, Selection

Own = Mapping[str, Known]
NOTHING: Own = MappingProxyType({})
UNIT, SCALE, FOCAL, BASELINE, LOW, HIGH = "unit", "scale", "focal_px", "baseline_m", "low", "high"
LEAST, LARGEST = "least number", "largest number"  # no parameters: of the file's own numbers, in any unit
_NAMES = {
    "focal_px": FOCAL,
    "focal": FOCAL,
    "focal_length": FOCAL,
    "focal_length_px": FOCAL,
    "fx": FOCAL,
    "baseline_m": BASELINE,
    "baseline": BASELINE,
    "scale": SCALE,
    "depth_scale": SCALE,
    "low": LOW,
    "high": HIGH,
    "unit": UNIT,
    "units": UNIT,
}
_MATRICES = frozenset({"k", "intrinsics", "intrinsic", "camera_matrix", "cameramatrix", "intrinsic_matrix"})
_UNITS = (  # of a map's own name, or of a text that names a unit
    ("mm", r"mm|millimet(er|re)s?"),
    ("disparity", r"disp(arity)?"),
    ("centikelvin", r"centikelvin"),
    ("kelvin", r"k|kelvin"),
    ("celsius", r"c|degc|celsius"),
    ("m", r"m|met(er|re)s?"),
)
_PER_METRE: Mapping[str, float | str] = {"m": 1.0, "mm": 1000.0}  # a unit of depth as a scale
_FILM_DIAGONAL_MM = 43.27
# TIFF 6.0: MinSampleValue and MaxSampleValue, and the same of any type of number.
_SPANS = ((0x154, 0x155), (0x118, 0x119))
_WHOLE = ((0.0, 255.0), (0.0, 65535.0))
_DESCRIPTION, _MAX_DESCRIPTION = 0x10E, 4096
_PAIR = re.compile(r"([A-Za-z][\w -]{0,40}?)\s*[=:]\s*(.{1,40})")
_EXIF_BLOCK, _FOCAL_35MM = 0x8769, 0xA405


def named(entries: Iterable[tuple[str, object]], where: str) -> dict[str, Known]:
    """Parameters among the entries of a file: scalars by their names, a camera's matrix, a text that is a unit."""
    found: dict[str, Known] = {}
    for name, value in entries:
        key = name.strip().lower().replace(" ", "_").replace("-", "_")
        reason = f"{where} names it: {key[:40]}"
        if key in _MATRICES and (focal := _focal_of(value)) is not None:
            found.setdefault(FOCAL, Known(focal, reason))
        elif (parameter := _NAMES.get(key)) is not None and (read := _read(parameter, value)) is not None:
            found.setdefault(parameter, Known(read, reason))
    return found


def unit_of_name(name: str) -> dict[str, Known]:
    """The unit that the name of a map holds, as depth_mm."""
    words = re.split(r"[^a-z]+", name.lower())
    unit = next((unit for unit, pattern in _UNITS if any(re.fullmatch(pattern, word) for word in words)), None)
    return {} if unit is None else {UNIT: Known(unit, f"the map is called {name[:40]}")}


def of_exif(exif: Image.Exif, size: tuple[int, int]) -> dict[str, Known]:
    """The focal length of a 35 mm film's camera with this angle of view, as pixels of the picture's diagonal."""
    focal = exif.get_ifd(_EXIF_BLOCK).get(_FOCAL_35MM)
    if not isinstance(focal, int | float) or not 1 <= focal <= 10_000:
        return {}
    pixels = round(float(focal) * math.hypot(*size) / _FILM_DIAGONAL_MM, 1)
    return {FOCAL: Known(pixels, f"EXIF: as {float(focal):g} mm on film of 35 mm")}


def of_tiff(picture: Image.Image) -> dict[str, Known]:
    """Parameters in a TIFF's description, JSON or lines of "name = value", and the span of its numbers by tags."""
    tags: Mapping[int, object] = getattr(picture, "tag_v2", {})
    found = named(_described(str(tags.get(_DESCRIPTION, ""))[:_MAX_DESCRIPTION]), "the TIFF's description")
    for low, high in _SPANS:
        span = [_number(tags.get(tag)) for tag in (low, high)]
        # Many writers name the whole span of their type, for any numbers.
        if span[0] is not None and span[1] is not None and span[0] < span[1] and tuple(span) not in _WHOLE:
            reason = f"the TIFF tags {low} and {high} name the span of its numbers"
            return {**found, LEAST: Known(span[0], reason), LARGEST: Known(span[1], reason)}
    return found


def _described(text: str) -> Iterable[tuple[str, object]]:
    with suppress(msgspec.DecodeError, RecursionError):
        entries = msgspec.json.decode(text)
        return entries.items() if isinstance(entries, dict) else ()
    return [(pair[1], pair[2].strip()) for line in text.splitlines() if (pair := _PAIR.fullmatch(line.strip()))]


def span_of_numbers(own: Own) -> tuple[float, float] | None:
    """The least and the largest number that the file names, in the file's own numbers."""
    low, high = (own[name].value if name in own else None for name in (LEAST, LARGEST))
    return (low, high) if isinstance(low, float) and isinstance(high, float) else None


def completed(params: Params, own: Own, entry: Entry, unit: Selection) -> Params:
    """The caller's parameters, and the file's of the entry's where the caller gives none.

    A unit and a scale are one statement, and so are low and high. Units of another modality are none.
    """
    names = entry.parameter_names
    own = {name: one for name, one in own.items() if name in names and (name != UNIT or one.value in unit.values)}
    if SCALE in own:
        own.pop(UNIT, None)
    for name, one in own.items():
        notes.parameter(name, one.value, one.reason)
    _warn_of_contradictions(params, {name: one.value for name, one in own.items()})
    stated = {*params, *({UNIT, SCALE} if {UNIT, SCALE} & set(params) else ()), *(_span(params))}
    added = {name: one.value for name, one in own.items() if name not in stated and one.value is not None}
    return {**params, **added}


def _warn_of_contradictions(params: Params, own: Mapping[str, float | str | None]) -> None:
    """Not of low and high: another span is another view of the same numbers."""
    for names in ((UNIT, SCALE), (FOCAL,), (BASELINE,)):
        given, stated = (_statement(values, names) for values in (params, own))
        if given and stated and not _agree(given[1], stated[1]):
            notes.warn(f"the file says {_words(stated)}, the request {_words(given)}: the request's counts")


def _statement(values: Mapping[str, float | str | None], names: Sequence[str]) -> tuple[str, float | str] | None:
    return next(((name, value) for name in names if (value := values.get(name)) is not None), None)


def _agree(one: float | str, other: float | str) -> bool:
    """Numbers to a twentieth: EXIF rounds a focal length to millimetres."""
    one, other = (_PER_METRE.get(value, value) if isinstance(value, str) else value for value in (one, other))
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=0.05)


def _words(statement: tuple[str, float | str]) -> str:
    name, value = statement
    return f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}"


def _span(params: Params) -> set[str]:
    return {LOW, HIGH} if {LOW, HIGH} & set(params) else set()


def _read(parameter: str, value: object) -> float | str | None:
    if parameter == UNIT:
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        return _unit(text.strip().lower()) if isinstance(text, str) else None
    number = _number(value)
    if number is None or (number <= 0 and parameter not in (LOW, HIGH)):
        return None
    if parameter == SCALE and number < 1:
        return round(1 / number, 6)  # metres a number, as depth cameras state it
    return number


def _unit(text: str) -> str | None:
    return next((unit for unit, pattern in _UNITS if re.fullmatch(pattern, text)), None)


def _number(value: object) -> float | None:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return float(array.ravel()[0]) if array.size == 1 and np.isfinite(array).all() else None


def _focal_of(value: object) -> float | None:
    """fx of a 3 by 3 camera matrix."""
    matrix = np.asarray(value)
    if matrix.shape != (3, 3) or matrix.dtype.kind not in "iuf" or not float(matrix[0, 0]) > 0:
        return None
    return float(matrix[0, 0])
