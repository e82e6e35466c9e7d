"""One tiny medium of each kind through the decoders, so that nothing is imported or opened once the child is locked.

Libraries load plugins, tables and codecs on first use. After `sandbox.lock_down` no file can be opened, so first use
must lie before it. The media are made here, never a caller's.
"""

import contextlib
import importlib
import pkgutil
from types import ModuleType

import av
import PIL
from PIL import Image

import pandagpt_core.media as media
import pandagpt_core.media.clouds as clouds
import pandagpt_core.media.motion as motion
import pandagpt_core.media.scientific as formats
from pandagpt_core.boxes import Located
from pandagpt_core.media.pictures.drawing import write_objects
from pandagpt_core.modalities import MODALITIES, Entry, Value


def run(limits: media.Limits, scientific: bool = False) -> None:
    """With `scientific` also the libraries of `media.scientific`, as far as they are installed."""
    for package in (av, PIL, clouds, motion):
        _import_all(package)
    Image.init()
    samples = [(make_sample(entry), entry.sample_params) for entry in MODALITIES.values()]
    boxes: dict[str, Value] = {"objects": write_objects([Located("a", (0.1, 0.1, 0.9, 0.9))])}
    samples.append((make_sample(MODALITIES["thermal"]), boxes))
    samples += [(data, {}) for data in _made("clouds")]
    if scientific:
        _import_all(formats)
        samples += [(data, params) for data in _made("scientific") for params in ({}, {"unit": "relative"})]
    for recipe in media.RECIPES:
        for data, params in samples:
            with contextlib.suppress(Exception):  # a refusal warms up the refusing path, which is as good
                media.load(recipe, data, params, limits)


def make_sample(entry: Entry) -> bytes:
    """The entry's own tiny medium."""
    module, function = entry.sample
    made: bytes = getattr(importlib.import_module(module), function)()
    return made


def _made(package: str) -> list[bytes]:
    """A file in each format that a library reads; none where those libraries are not installed."""
    try:
        return list(importlib.import_module(f"{media.__name__}.{package}.samples").files())
    except ImportError:
        return []


def _import_all(package: ModuleType) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError, RuntimeError):  # parts that want what is not installed (Tk, Qt)
                importlib.import_module(module.name)
