"""Names and kinds of everything that may be read of a picture: concepts, ImageNet's classes, COCO's kinds of thing.

ImageNet's classes come in the order of WordNet's tree, so whole runs of them are one kind.
"""

from collections.abc import Iterable, Mapping

from pandagpt_core.perception.reading import NamedConcept
from recipes.panda_mini.concepts import Concept, load_concepts, load_imagenet
from recipes.panda_mini.talks.words import TalkVocabulary

COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "doughnut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "table",
    "toilet",
    "television",
    "laptop",
    "computer mouse",
    "remote control",
    "keyboard",
    "mobile phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair dryer",
    "toothbrush",
]
_KINDS: Mapping[str, tuple[str, ...]] = {
    "animal": ("animal",),
    "bird": ("bird", "animal"),
    "insect": ("insect", "animal"),
    "sea animal": ("animal",),
    "instrument": ("musical instrument",),
    "vehicle": ("vehicle",),
    "fruit": ("fruit", "food"),
    "vegetable": ("vegetable", "food"),
    "food": ("food",),
    "drink": ("drink",),
    "plant": ("plant",),
    "tool": ("tool",),
    "clothing": ("clothing",),
}
_NARROWER: Mapping[str, tuple[str, ...]] = {
    "rose": ("flower", "plant"),
    "sunflower": ("flower", "plant"),
    "tulip": ("flower", "plant"),
    "shark": ("fish", "animal"),
    "palm tree": ("tree", "plant"),
    "mushroom": ("fungus",),
    "boat": ("vehicle",),
    "potted plant": ("plant",),
    "teddy bear": ("toy",),
}
_RUNS = (
    (range(7), ("fish", "animal")),
    (range(7, 25), ("bird", "animal")),
    (range(25, 80), ("animal",)),
    (range(80, 101), ("bird", "animal")),
    (range(101, 127), ("animal",)),
    (range(127, 147), ("bird", "animal")),
    (range(147, 151), ("animal",)),
    (range(151, 269), ("dog", "animal")),
    (range(269, 281), ("animal",)),
    (range(281, 286), ("cat", "animal")),
    (range(286, 294), ("animal",)),
    (range(294, 298), ("bear", "animal")),
    (range(298, 300), ("animal",)),
    (range(300, 327), ("insect", "animal")),
    (range(327, 389), ("animal",)),
    (range(389, 398), ("fish", "animal")),
    (range(924, 936), ("food",)),
    (range(936, 946), ("vegetable", "food")),
    (range(948, 958), ("fruit", "food")),
    (range(959, 967), ("food",)),
    (range(970, 981), ("landscape",)),
    (range(981, 984), ("person",)),
    (range(985, 987), ("flower", "plant")),
    (range(987, 991), ("plant",)),
    (range(991, 998), ("fungus",)),
)
# fmt: off
_BUILDINGS = (
    415, 424, 425, 437, 442, 449, 454, 467, 483, 497, 498, 500, 509, 525, 538, 562, 580, 582, 624, 649, 660, 663, 668,
    682, 698, 706, 718, 727, 743, 762, 788, 821, 832, 839, 853, 858, 860, 865, 873, 888, 900, 915,
)
_VEHICLES = (
    403, 404, 405, 407, 408, 417, 436, 444, 450, 466, 468, 472, 484, 510, 511, 547, 554, 555, 561, 565, 569, 573, 575,
    576, 586, 603, 609, 612, 625, 627, 628, 654, 656, 661, 665, 670, 671, 675, 690, 705, 717, 734, 751, 757, 779, 780,
    802, 803, 812, 814, 817, 820, 829, 833, 847, 864, 866, 867, 870, 871, 874, 880, 895, 914,
)
_INSTRUMENTS = (
    401, 402, 420, 432, 486, 494, 513, 541, 546, 558, 566, 577, 579, 593, 594, 641, 642, 683, 684, 687, 699, 776, 822,
    875, 881, 889,
)
# fmt: on


def kinds_of_class(index: int) -> tuple[str, ...]:
    for run, kinds in _RUNS:
        if index in run:
            return kinds
    tables = ((_BUILDINGS, "building"), (_VEHICLES, "vehicle"), (_INSTRUMENTS, "musical instrument"))
    return next(((kind,) for members, kind in tables if index in members), ())


def named_concept(concept: Concept) -> NamedConcept:
    kinds = _NARROWER.get(concept.name, _KINDS.get(concept.cat, ()))
    return NamedConcept(concept.name, tuple(kind for kind in kinds if kind != concept.name))


def named_classes(names: Iterable[str]) -> list[NamedConcept]:
    """ImageNet's classes; one that is a concept by another name has the concept among its kinds."""
    of_class = {at: load_concepts_by_name()[name] for name, places in load_imagenet().items() for at in places}
    found = []
    for index, name in enumerate(names):
        plain = name.lower()
        kinds = kinds_of_class(index)
        concept = of_class.get(index)
        if concept is not None:
            known = named_concept(concept)
            kinds = tuple(dict.fromkeys((known.name, *known.kinds)))
        found.append(NamedConcept(plain, tuple(kind for kind in kinds if kind != plain)))
    return found


def load_concepts_by_name() -> dict[str, Concept]:
    return {concept.name: concept for concept in load_concepts()}


def named_things() -> list[NamedConcept]:
    """COCO's kinds; those that are concepts have the concept's kinds."""
    known = load_concepts_by_name()
    return [named_concept(known[n]) if n in known else NamedConcept(n, _NARROWER.get(n, ())) for n in COCO]


def vocabulary(classes: Iterable[str]) -> TalkVocabulary:
    """All names that talks are drawn from. classes: ImageNet's names in their order."""
    concepts = load_concepts()
    every = [*map(named_concept, concepts), *named_classes(classes), *named_things()]
    names = tuple({one.name: one for one in reversed(every)}.values())
    audible = tuple(
        named_concept(c) for c in concepts if c.cat in ("instrument", "animal", "bird", "vehicle", "weather")
    )
    moving = tuple(named_concept(c) for c in concepts if c.cat == "activity")
    return TalkVocabulary(names, audible, moving)
