"""The one way in: bytes and the name of a registered recipe to an encoder's array. Names are part of cache keys."""

import hashlib
from collections.abc import Callable
from importlib import import_module

import msgspec
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia, UnsupportedModality
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.notes import Notes, collecting
from pandagpt_core.media.params import Params
from pandagpt_core.modalities import READINGS, RECIPES

MediaLoader = Callable[[bytes, Params, Limits], npt.NDArray[np.generic]]


def load(recipe: str, data: bytes, params: Params, limits: Limits) -> npt.NDArray[np.generic]:
    """The array of `data` under `recipe`, first axis clips, contiguous; see each module for shapes and parameters.

    Raises InvalidMedia for anything wrong with bytes or parameters, UnsupportedModality for an unknown recipe.
    """
    if recipe not in RECIPES:
        raise UnsupportedModality("this build does not know the preprocessing recipe that the model asks for")
    if not data:
        raise InvalidMedia("the medium is empty")
    check(len(data), limits.bytes, "the medium", "bytes")
    module, function = RECIPES[recipe]  # imported on first use, so that a text needs no video library
    loader: MediaLoader = getattr(import_module(module), function)
    return np.ascontiguousarray(loader(data, params, limits))


def read(recipe: str, data: bytes, params: Params, limits: Limits) -> tuple[npt.NDArray[np.generic], Notes]:
    """As `load`, with what the reader remarked."""
    with collecting() as found:
        array = load(recipe, data, params, limits)
    return array, found.closed()


def digest(data: bytes, modality: str, recipe: str, params: Params) -> str:
    """Hex SHA-256 that names a medium in caches: raw bytes, modality, recipe, how it reads, parameters.

    Hashing bytes and not decoded pixels is what keeps one caller's picture from being served for another's (vLLM
    CVE-2025-46722). Fields are length-framed, so no two tuples share an encoding; 1 and 1.0 are the same parameter.
    """
    values = {name: value if isinstance(value, str) else float(value) for name, value in params.items()}
    reading = READINGS.get(recipe, 1)
    named = recipe if reading == 1 else f"{recipe}#{reading}"
    head = msgspec.json.encode([modality, named, sorted(values.items())])
    framed = hashlib.sha256(len(head).to_bytes(8, "big") + head)
    framed.update(data)
    return framed.hexdigest()
