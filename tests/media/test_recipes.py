"""The table of recipes, the one way in, and names for caches."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia, UnsupportedModality
from pandagpt_core.media import RECIPES, Limits, digest, load

LIMITS = Limits()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_names_a_function(name):
    module, function = RECIPES[name]
    assert callable(getattr(importlib.import_module(module), function))


def test_an_unknown_recipe_is_named_as_such():
    with pytest.raises(UnsupportedModality, match="does not know"):
        load("imagebind-smell-v1", b"x", {}, LIMITS)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_at_all_is_refused(name):
    with pytest.raises(InvalidMedia, match="empty"):
        load(name, b"", {}, LIMITS)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_bytes_are_bounded(name):
    with pytest.raises(InvalidMedia, match="has 100 bytes; the limit is 99"):
        load(name, b"x" * 100, {}, Limits(bytes=99))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_an_unknown_parameter_is_refused_by_every_recipe(name):
    with pytest.raises(InvalidMedia, match="unknown parameter") as caught:
        load(name, b"x", {"colour": "red"}, LIMITS)
    assert caught.value.param == "colour"
    assert "red" not in caught.value.message


def test_importing_the_room_loads_no_torch_and_no_decoder():
    code = (
        "import sys, pandagpt_core.media as m; "
        "m.load('clip-bpe-v1', b'a dog', {}, m.Limits()); "
        "print([n for n in ('torch', 'av', 'PIL', 'soundfile', 'open_clip') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_equal_media_have_equal_names():
    name = digest(b"abc", "imu", "imu-v1", {"rate_hz": 100, "a": "b"})
    assert name == digest(b"abc", "imu", "imu-v1", {"a": "b", "rate_hz": 100.0})
    assert len(name) == 64
    assert int(name, 16) > 0


def test_whatever_changes_the_array_changes_the_name():
    names = {
        digest(b"abc", "image", "imagebind-image-v1", {}),
        digest(b"abd", "image", "imagebind-image-v1", {}),
        digest(b"abc", "thermal", "imagebind-image-v1", {}),
        digest(b"abc", "image", "lite0-image-v1", {}),
        digest(b"abc", "image", "imagebind-image-v1", {"unit": "m"}),
        digest(b"abc", "image", "imagebind-image-v1", {"unit": "mm"}),
        digest(b"abc", "image", "imagebind-image-v1", {"unit": 1.0}),
        digest(b"abc", "image", "imagebind-image-v1", {"unit": "1.0"}),
        digest(b"", "image", "imagebind-image-v1", {}),
    }
    assert len(names) == 9


def test_arrays_do_not_depend_on_what_was_decoded_before(make):
    first = load("imagebind-image-v1", make.picture(), {}, LIMITS)
    load("imagebind-audio-v1", make.sound(make.tone()), {}, LIMITS)
    assert np.array_equal(load("imagebind-image-v1", make.picture(), {}, LIMITS), first)
