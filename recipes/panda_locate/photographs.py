"""Real photographs to measure on, never trained on: some with boxes that were drawn by hand, some with a name alone."""

from pathlib import Path

from PIL import Image

from pandagpt_core.types import Box
from recipes.panda_locate.cutouts import NAME_OF
from recipes.panda_locate.questions import LocateQuestion
from recipes.panda_locate.scenes import DrawnScene
from recipes.panda_locate.things import NAMES, DrawnThing
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import validation_photos

_MVTB, _SKIMAGE = "mvtb-data/mvtbdata/images", "scikit-image/skimage/data"
_BOXED: tuple[tuple[str, str, tuple[Box, ...]], ...] = (
    (f"{_MVTB}/butterfly.jpg", "butterfly", ((0.01, 0.28, 0.98, 0.88),)),
    (f"{_MVTB}/tomato_124.png", "tomato", ((0.334, 0.46, 0.495, 0.605), (0.186, 0.75, 0.406, 1.0))),
    (f"{_MVTB}/tomato_35.png", "tomato", ((0.408, 0.143, 0.564, 0.34), (0.416, 0.355, 0.679, 0.67))),
    (f"{_MVTB}/tomato_54.png", "tomato", ((0.28, 0.495, 0.42, 0.67),)),
    (f"{_SKIMAGE}/chelsea.png", "cat", ((0.066, 0.0, 0.91, 1.0),)),
    (f"{_SKIMAGE}/rocket.jpg", "rocket", ((0.477, 0.296, 0.528, 0.954),)),
)
_CARTOONS = "gcompris/lang"


def boxed_photographs(packages: Path) -> list[DrawnScene]:
    """Six photographs with eight things."""
    found = []
    for path, noun, boxes in _BOXED:
        things = tuple(DrawnThing(NAMES.index(noun), -1, box) for box in boxes)
        found.append(DrawnScene(Image.open(packages / path).convert("RGB"), things))
    return found


def named_photographs(packages: Path) -> list[tuple[DrawnScene, LocateQuestion]]:
    """Photographs of one thing each, of a package for children's lessons, and what they show."""
    concepts = load_concepts()
    found = []
    for picture in validation_photos(packages, concepts):
        name = NAME_OF.get(concepts[picture.concept].name)
        if name is not None and picture.source != _CARTOONS:
            shown = on_white(picture.draw())
            question = LocateQuestion("what", "[vqa] what is in the picture?", NAMES[name])
            found.append((DrawnScene(shown, ()), question))
    return found


def on_white(drawn: Image.Image) -> Image.Image:
    ground = Image.new("RGB", drawn.size, "white")
    ground.paste(drawn.convert("RGB"), (0, 0), drawn.getchannel("A"))
    return ground
