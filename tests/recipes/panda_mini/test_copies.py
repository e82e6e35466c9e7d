"""A held-out picture that is trained on too is found by what it looks like, whatever its size, place or direction."""

import io

from PIL import Image, ImageDraw

from recipes.panda_mini.data.copies import copies
from recipes.panda_mini.data.media import Picture


def picture(image: Image.Image) -> Picture:
    out = io.BytesIO()
    image.save(out, "PNG")
    return Picture("made", "one", (), 0, out.getvalue())


def drawn(colour: str, size: int = 96, *, tall: bool = False) -> Image.Image:
    """A hand drawn flag or, `tall`, a house."""
    image = Image.new("RGBA", (size, size))
    pen, unit = ImageDraw.Draw(image), size // 8
    if tall:
        pen.polygon([(4 * unit, 0), (7 * unit, 3 * unit), (unit, 3 * unit)], fill="brown")
        pen.rectangle([2 * unit, 3 * unit, 6 * unit, 7 * unit], fill=colour)
    else:
        pen.rectangle([unit, 0, 2 * unit, 7 * unit], fill="black")
        pen.polygon([(2 * unit, 0), (7 * unit, 2 * unit), (2 * unit, 4 * unit)], fill=colour)
    return image


def test_a_copy_is_found_at_another_size_on_a_wider_sheet_and_mirrored() -> None:
    known = [picture(drawn("green", tall=True)), picture(drawn("red"))]
    wider = Image.new("RGBA", (300, 200))
    wider.paste(drawn("red", 160), (90, 20))
    turned = drawn("red", 128).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert copies([picture(drawn("red", 192)), picture(wider), picture(turned)], known) == {0, 1, 2}


def test_another_drawing_is_no_copy_and_what_cannot_be_drawn_is_passed_over() -> None:
    broken = Picture("made", "broken", (), 0, b"no picture")
    assert copies([picture(drawn("red", tall=True)), picture(drawn("blue")), broken], [picture(drawn("red"))]) == set()
    assert copies([picture(drawn("red"))], [broken]) == set()


def test_next_to_nothing_is_no_copy_of_next_to_nothing() -> None:
    blank = [picture(Image.new("RGBA", (64, 64), "white")), picture(Image.new("RGBA", (96, 32), "white"))]
    assert copies(blank[:1], blank[1:]) == set()
