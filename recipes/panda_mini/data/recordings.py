"""Real recordings of the audible concepts, for validation alone: share-alike and GPL media, never trained on.

File names decided the concept of each file, before any tower encoded one.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.data.rcc import read_rcc

Named = Mapping[str, Mapping[str, tuple[str, ...]]]
# Package -> concept -> patterns of file names.
NAMED: Named = {
    "tuxpaint-stamps-default": {
        "dog": ("mammals/dogs/dog.ogg",),
        "horse": ("equines/horse.ogg",),
        "bird": ("birds/lark.ogg", "birds/blackbird.ogg", "birds/quetzal.ogg", "birds/tucan.ogg", "birds/cuckoo.ogg"),
        "violin": ("string/violin.ogg",),
        "drum": ("percussion/drum_tomtom_floor.ogg", "percussion/drumkit.ogg"),
        "siren": ("emergency/firetruck.ogg",),
        "thunderstorm": ("naturalforces/lightningbolt.ogg",),
    },
    "wesnoth-1.16-data": {
        "bird": ("birds?.ogg",),
        "horse": ("horse-*",),
        "thunderstorm": ("sounds/lightning.ogg",),
        "drum": ("wardrums.ogg",),
        "bell": ("sounds/bell.wav",),
    },
    "widelands-data": {"bird": ("animals/bird*.ogg",), "horse": ("farm/horse_*.ogg",)},
    "gcompris-qt-data": {
        "dog": ("animals/dog.ogg", "LRBark_*"),
        "horse": ("animals/horse.ogg",),
        "violin": ("resource/violin.ogg",),
        "accordion": ("resource/accordion.ogg",),
        "banjo": ("resource/banjo.ogg",),
        "trumpet": ("resource/trumpet.ogg",),
        "piano": ("resource/piano.ogg",),
        "harp": ("resource/harp.ogg",),
        "saxophone": ("resource/saxophone.ogg",),
        "flute": ("resource/flute_traversiere.ogg",),
        "guitar": ("resource/guitar.ogg", "resource/electric_guitar.ogg", "resource/guitar_*.ogg"),
        "drum": ("resource/snare_drum.ogg", "resource/drum_kit.ogg", "resource/timpani.ogg", "resource/bongo.ogg"),
        "car": ("LRStartAndStopCarEngine*", "traffic/resource/car.wav"),
        "telephone": ("LRRing_*",),
        "door": ("LRDoor_Open*",),
        "train": ("LRTrain_*", "sounds/train.wav"),
        "applause": ("LRApplauses_*",),
        "heart": ("LRHeart_beat_*",),
        "rain": ("LRRain_*",),
        "helicopter": ("resource/helicopter.wav",),
    },
}
_RCC = "gcompris-qt-data"
_BUNDLES = ("explore_farm_animals", "instruments", "memory-sound", "railroad", "traffic", "guessnumber")
_SUFFIXES = (".ogg", ".wav")


def real_recordings(
    packages: Path, concepts: tuple[Concept, ...], wanted: Named = NAMED
) -> list[tuple[str, int, bytes]]:
    """(where from, concept, the file's bytes) of every recording whose name names an audible concept."""
    index = {concept.name: at for at, concept in enumerate(concepts)}
    found = []
    for package, named in wanted.items():
        for path, data in _bundled(packages / package) if package == _RCC else _files(packages / package):
            names = [name for name, patterns in named.items() if any(fnmatch(path, f"*/{p}") for p in patterns)]
            if names:
                found.append((f"{package}{path}", index[names[0]], data))
    return found


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SUFFIXES and not path.is_symlink():
            yield f"/{path.relative_to(folder)}", path.read_bytes()


def _bundled(folder: Path) -> Iterator[tuple[str, bytes]]:
    for bundle in _BUNDLES:
        for name, data in read_rcc(folder / "usr" / "share" / "gcompris-qt" / "rcc" / f"{bundle}.rcc"):
            if name.endswith(_SUFFIXES):
                yield name, data
