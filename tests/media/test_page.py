"""docs/media.md is what the registry gives."""

from pathlib import Path

from pandagpt_core.media.page import page
from pandagpt_core.modalities import MODALITIES


def test_the_page_of_media_is_the_registrys(root: Path) -> None:
    assert (root / "docs/media.md").read_text(encoding="utf-8") == page()


def test_the_page_names_every_recipe_parameter_and_suffix() -> None:
    text = page()
    for entry in MODALITIES.values():
        names = [recipe.name for recipe in entry.recipes]
        names += [entry.form_field(one) for one in entry.parameters] + list(entry.mime)
        assert all(f"`{name}`" in text for name in names)
