"""Scenes: each thing has the place and colour of its truth, and the rows agree."""

import numpy as np
import pytest
import torch
from PIL import Image

from pandagpt_core.boxes import write_box
from pandagpt_core.encoders.grid.sizes import THINGS
from pandagpt_core.llm.tokenizers.base import Tokenizer
from recipes.panda_locate.cutouts import Cutouts
from recipes.panda_locate.plans import MOST, imagined, in_order, plan_scene
from recipes.panda_locate.questions import place
from recipes.panda_locate.rows import Noise, imagined_rows, words_of
from recipes.panda_locate.scenes import draw_scene
from recipes.panda_locate.things import COLOURS, NAMES, DrawnThing, plural


@pytest.fixture(scope="module")
def cutouts() -> Cutouts:
    """A black triangle for each of three names, with transparency around it."""
    drawn = np.zeros((60, 40, 4), np.uint8)
    drawn[np.tril(np.ones((60, 40), bool))] = (0, 0, 0, 255)
    return {at: [Image.fromarray(drawn)] for at in (0, 5, 9)}


def test_a_things_box_is_where_it_was_drawn(cutouts: Cutouts) -> None:
    for seed in range(40):
        scene = draw_scene(cutouts, (), np.random.default_rng((9, seed)))
        if len(scene.things) > 1 or scene.things[0].colour >= 0:
            continue
        dark = np.asarray(scene.picture.convert("L")).astype(int)
        left, top, right, bottom = (round(side * 448) for side in scene.things[0].box)
        inside = dark[top:bottom, left:right]
        if np.median(dark) > 120:  # on a light ground
            assert (inside < 60).mean() > 0.25
            rest = dark.copy()
            rest[max(top - 3, 0) : bottom + 3, max(left - 3, 0) : right + 3] = 255
            assert (rest < 40).mean() < 0.01
            return
    pytest.fail("no seed gave one dark thing on a light ground")


def test_things_of_a_scene_stand_apart_and_inside(cutouts: Cutouts) -> None:
    for seed in range(20):
        things = draw_scene(cutouts, (), np.random.default_rng(seed)).things
        assert 1 <= len(things) <= MOST
        assert all(0 <= side <= 1 for thing in things for side in thing.box)
        assert all(thing.name in cutouts for thing in things)


def test_a_tinted_thing_has_its_colour() -> None:
    from recipes.panda_locate.cutouts import tinted

    grey = Image.fromarray(np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64)).convert("RGBA")
    for index, (red, green, blue) in enumerate(COLOURS.values()):
        mean = np.asarray(tinted(grey, index, np.random.default_rng(0)).convert("RGB")).mean(axis=(0, 1))
        near = [np.abs(mean - np.array(other)).sum() for other in COLOURS.values()]
        assert int(np.argmin(near)) == index, (red, green, blue)


def test_imagined_rows_read_as_a_text_about_the_things(smollm2: Tokenizer) -> None:
    rng, words = np.random.default_rng(3), words_of(smollm2)
    things = [imagined(plan, rng) for plan in plan_scene(rng)]
    rows = imagined_rows(words, things, rng, Noise(often=0.0, plain=0.0))
    text = "".join(words.pieces[at] for at in rows.argmax(dim=-1).tolist()).lstrip("\n")
    total, *lines = text.splitlines()
    assert int(total) == len(things) == len(lines)
    for line, thing in zip(lines, in_order(things), strict=True):
        assert line.startswith(f"{thing.shade or 'plain'} {thing.noun}")
        assert f"{place(thing)}<" in line
        assert write_box(thing.box)[1:-2] == line[line.index("<") :]
    assert rows.shape == (words.rows(THINGS), len(words.pieces))


def test_every_piece_of_a_row_is_one_token_of_the_language_model(smollm2: Tokenizer) -> None:
    for piece in words_of(smollm2).pieces:
        (token,) = smollm2.encode(piece)
        assert smollm2.decode([token]) == piece


def test_doubt_about_a_name_leaves_most_to_the_right_one(smollm2: Tokenizer) -> None:
    rng, words = np.random.default_rng(0), words_of(smollm2)
    column, thing = words.pieces.index(" pig"), DrawnThing(NAMES.index("pig"), -1, (0.1, 0.1, 0.4, 0.4))
    shares = torch.stack([imagined_rows(words, [thing], rng, Noise(0.45, 1.0))[:, column].max() for _ in range(30)])
    assert (shares >= 0.55).all()
    assert (shares < 1).any()


def test_plurals_are_english() -> None:
    assert [plural(noun) for noun in ("dog", "sheep", "bus", "strawberry", "key", "fish", "tomato")] == [
        "dogs", "sheep", "buses", "strawberries", "keys", "fish", "tomatoes",
    ]  # fmt: skip
