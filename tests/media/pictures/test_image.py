"""Pictures: what is allowed in, the two recipes' geometry, alpha, EXIF, depth of bits, animation."""

import io

import numpy as np
import pytest
from PIL import Image

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load

LIMITS = Limits()


@pytest.mark.parametrize("recipe", ["imagebind-image-v1", "lite0-image-v1"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_allowed_format_decodes(make, recipe, kind):
    array = load(recipe, make.picture(kind=kind), {}, LIMITS)
    assert array.shape == (1, 3, 224, 224)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "JPEG2000"])
def test_other_formats_of_pillow_are_refused(make, kind):
    with pytest.raises(InvalidMedia, match="none of JPEG, PNG"):
        load("imagebind-image-v1", make.picture(kind=kind), {}, LIMITS)


@pytest.mark.parametrize("recipe", ["imagebind-image-v1", "lite0-image-v1"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_usual_colour_mode_decodes(make, recipe, mode):
    assert np.isfinite(load(recipe, make.picture(mode=mode), {}, LIMITS)).all()


def test_cmyk_decodes(make):
    assert load("lite0-image-v1", make.picture(mode="CMYK", kind="JPEG"), {}, LIMITS).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 200), (200, 1), (223, 500), (224, 224)])
def test_odd_sizes_decode(make, width, height):
    assert load("imagebind-image-v1", make.picture(width, height), {}, LIMITS).shape == (1, 3, 224, 224)


def test_a_needle_is_refused_before_it_grows_to_millions_of_columns(make):
    with pytest.raises(InvalidMedia, match=r"65535 as its ratio of sides; the limit is 200"):
        load("imagebind-image-v1", make.picture(1, 65535), {}, LIMITS)


@pytest.mark.parametrize("side", [8000, 12_000, 60_000])
def test_a_bomb_is_refused_from_its_header(make, side):
    with pytest.raises(InvalidMedia, match="the limit is 40000000"):
        load("imagebind-image-v1", make.png_claiming(side, side), {}, LIMITS)


def test_the_pixel_limit_is_inclusive(make):
    load("lite0-image-v1", make.picture(20, 10), {}, Limits(pixels=200))
    with pytest.raises(InvalidMedia, match="has 200 pixels; the limit is 199"):
        load("lite0-image-v1", make.picture(20, 10), {}, Limits(pixels=199))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_refused(make, kind):
    data = make.picture(200, 150, kind=kind)
    with pytest.raises(InvalidMedia):
        load("imagebind-image-v1", data[: len(data) // 2], {}, LIMITS)


def test_an_animation_gives_its_first_frame(make):
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    animated = make.saved(red, "GIF", save_all=True, append_images=[blue], duration=100)
    assert np.array_equal(
        load("lite0-image-v1", animated, {}, LIMITS), load("lite0-image-v1", make.saved(red, "GIF"), {}, LIMITS)
    )


def test_lite0_scales_as_its_trunk_wants(make):
    array = load("lite0-image-v1", make.saved(Image.new("RGB", (50, 40), (0, 127, 255))), {}, LIMITS)
    assert array[0, :, 100, 100].tolist() == [-127 / 128, 0.0, 1.0]


def test_lite0_lays_alpha_over_white_where_imagebind_drops_it(make):
    clear = make.saved(Image.new("RGBA", (32, 32), (0, 0, 0, 0)))
    assert load("lite0-image-v1", clear, {}, LIMITS).min() == 1.0
    assert load("imagebind-image-v1", clear, {}, LIMITS).max() < -1.0


def test_lite0_follows_exif_orientation_where_imagebind_ignores_it(make):
    picture = Image.fromarray(np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = make.saved(picture), make.saved(picture, exif=exif)
    rotated = make.saved(picture.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(load("imagebind-image-v1", turned, {}, LIMITS), load("imagebind-image-v1", plain, {}, LIMITS))
    assert np.array_equal(load("lite0-image-v1", turned, {}, LIMITS), load("lite0-image-v1", rotated, {}, LIMITS))


def test_broken_exif_does_not_refuse_a_sound_picture(make):
    data = make.picture(kind="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load("lite0-image-v1", data, {}, LIMITS).shape == (1, 3, 224, 224)


def test_lite0_scales_sixteen_bits_where_imagebind_clips_them(make):
    middle = make.grey16(np.full((32, 32), 32768))
    assert abs(load("lite0-image-v1", middle, {}, LIMITS)).max() < 0.02
    white = make.saved(Image.new("RGB", (32, 32), (255, 255, 255)))
    assert np.array_equal(load("imagebind-image-v1", middle, {}, LIMITS), load("imagebind-image-v1", white, {}, LIMITS))


def test_a_picture_takes_no_parameter(make):
    with pytest.raises(InvalidMedia, match="unknown parameter") as caught:
        load("imagebind-image-v1", make.picture(), {"unit": "mm"}, LIMITS)
    assert caught.value.param == "unit"


def test_lite0_takes_transparent_palettes_and_soft_edges(make):
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([255, 0, 0] + [0, 0, 0] * 255)
    clear = make.saved(palette, "PNG", transparency=0)
    assert load("lite0-image-v1", clear, {}, LIMITS).min() == 1.0
    half = make.saved(Image.new("RGBA", (32, 32), (0, 0, 0, 128)))
    assert abs(load("lite0-image-v1", half, {}, LIMITS)).max() < 0.02


def test_a_picture_for_boxes_keeps_all_of_itself_whatever_its_sides(make):
    array = load("eva-image-v1", make.picture(30, 90), {}, LIMITS)
    assert array.shape == (1, 3, 448, 448)


def test_a_picture_for_boxes_is_turned_as_a_viewer_turns_it(make):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: the left side is then on top
    data = io.BytesIO()
    picture.save(data, "PNG", exif=exif)
    array = load("eva-image-v1", data.getvalue(), {}, LIMITS)[0]
    assert (array[:, :200] > 1.9).all()
    assert (array[:, 250:] < -1.4).all()
