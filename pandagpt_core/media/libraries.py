"""Which media only a large library reads. Every other medium needs none of them, so few decoding children have them."""

from pandagpt_core.media.clouds import magic as clouds
from pandagpt_core.media.scientific import is_scientific
from pandagpt_core.modalities import RECIPES

_CLOUDS = "pandagpt_core.media.clouds.points"  # the module of the recipes that read clouds


def needs_library(recipe: str, data: bytes) -> bool:
    """Whether it is a file of scientific tools, or a mesh or laser scan for a recipe of clouds."""
    module, _ = RECIPES.get(recipe, ("", ""))
    return is_scientific(data) or (module == _CLOUDS and clouds.is_by_library(data))
