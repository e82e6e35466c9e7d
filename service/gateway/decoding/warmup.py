"""One tiny medium of each kind through the decoders, so that nothing is imported or opened once the child is locked.

Libraries load plugins, tables and codecs on first use. After `sandbox.lock_down` no file can be opened, so first use
must lie before it. The media are made here, never a caller's.
"""

import contextlib
import importlib
import pkgutil
from collections.abc import Collection
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
from pandagpt_core.media.samples import cloud_lines
from pandagpt_core.media.scientific.magic import needs_library
from pandagpt_core.modalities import MODALITIES, Entry, Value

# Meshes and scans, and the makers of their samples: only children with libraries have these.
LARGE = (f"{clouds.__name__}.meshes", f"{clouds.__name__}.las", f"{clouds.__name__}.samples")
# Windows of a desktop; Pillow's report on its parts loads them too.
SCREENS = ("PIL.ImageTk", "PIL.ImageQt", "PIL.ImageShow", "PIL._imagingtk", "PIL._tkinter_finder", "PIL.report")


def run(limits: media.Limits, libraries: bool = False) -> None:
    """With `libraries` also those that `needs_library` is about, as far as they are installed."""
    for package in (av, PIL, clouds, motion):
        _import_all(package, but=SCREENS if libraries else (*LARGE, *SCREENS))
    Image.init()
    samples = [(make_sample(entry), entry.sample_params) for entry in MODALITIES.values()]
    boxes: dict[str, Value] = {"objects": write_objects([Located("a", (0.1, 0.1, 0.9, 0.9))])}
    samples.append((make_sample(MODALITIES["thermal"]), boxes))
    samples.append((cloud_lines(), {}))
    if libraries:
        _import_all(formats)
        samples += [(data, {}) for data in _made("clouds")]
        samples += [(data, params) for data in _made("scientific") for params in ({}, {"unit": "relative"})]
    for recipe in media.RECIPES:
        for data, params in samples:
            if not libraries and needs_library(recipe, data):
                continue
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


def _import_all(package: ModuleType, but: Collection[str] = ()) -> None:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__") and module.name not in but:
            with contextlib.suppress(ImportError, RuntimeError):  # parts that want what is not installed (Tk, Qt)
                importlib.import_module(module.name)
