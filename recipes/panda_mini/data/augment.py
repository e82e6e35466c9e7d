"""A cut-out on a background, varied: an input of the trunk in training. Pure in (picture, generator)."""

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

SIZE = 224


def plain(cutout: Image.Image) -> np.ndarray:
    """The cut-out centred on white, filling the square: [224, 224, 3] uint8."""
    return np.asarray(_paste(ImageOps.contain(cutout, (SIZE, SIZE)), Image.new("RGB", (SIZE, SIZE), "white"), 0.5, 0.5))


def varied(cutout: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Another size, place, angle, colour and background each time: [224, 224, 3] uint8."""
    side = int(SIZE * rng.uniform(0.55, 1.1))
    piece = ImageOps.contain(cutout, (side, side))
    if rng.random() < 0.5:
        piece = ImageOps.mirror(piece)
    piece = piece.rotate(float(rng.uniform(-20, 20)), Image.Resampling.BILINEAR, expand=False)
    alpha = piece.getchannel("A")
    colours = piece.convert("RGB")
    for enhancer in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        colours = enhancer(colours).enhance(float(rng.uniform(0.6, 1.4)))
    if rng.random() < 0.1:
        colours = ImageOps.grayscale(colours).convert("RGB")
    colours.putalpha(alpha)
    whole = _paste(colours, _background(rng), *rng.uniform(0.2, 0.8, 2))
    if rng.random() < 0.25:
        whole = whole.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.5))))
    return np.asarray(whole)


def _paste(piece: Image.Image, canvas: Image.Image, x: float, y: float) -> Image.Image:
    at = (round((canvas.width - piece.width) * x), round((canvas.height - piece.height) * y))
    canvas.paste(piece.convert("RGB"), at, piece.getchannel("A"))
    return canvas


def _background(rng: np.random.Generator) -> Image.Image:
    kind = rng.random()
    if kind < 0.35:
        return Image.new("RGB", (SIZE, SIZE), "white")
    if kind < 0.5:
        return Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in rng.integers(0, 256, 3)))
    # A few random colours stretched smoothly: gradients from few, blotches like foliage or fur from many.
    cells = int(rng.choice([2, 3, 6, 14, 28]))
    base = rng.uniform(20, 235, 3)
    grid = np.clip(base + rng.normal(0, rng.uniform(10, 70), (cells, cells, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
