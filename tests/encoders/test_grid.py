"""The grid encoder: rows say which things are where, as digits, in reading order."""

import pytest
import torch

from pandagpt_core.boxes import write_box
from pandagpt_core.encoders.grid.codes import CHARACTERS, DIGITS, NONE, Codes, characters_of, place_of, size_of
from pandagpt_core.encoders.grid.encoder import SIDE, THINGS, GridEncoder, GridFeatures, GridSizes, centres, rows_of
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.types import Modality

SIZES = GridSizes(names=3, colours=2, width=8, depth=1)
BOX = (0.1, 0.07, 0.55, 0.8)


def seen(*things: tuple[int, int, float, tuple[float, float, float, float]]) -> GridFeatures:
    """Nothing but these: row and column of the cell, how likely it is a centre, its box; all of name 1, colour 0."""
    made = GridFeatures(
        torch.full((1, SIDE, SIDE), -9.0),
        torch.zeros(1, SIDE, SIDE, 3),
        torch.zeros(1, SIDE, SIDE, 2),
        torch.zeros(1, SIDE, SIDE, 4),
    )
    made.names[..., 1] = made.colours[..., 0] = 50.0
    for row, column, likely, box in things:
        made.centre[0, row, column] = torch.tensor(likely).logit()
        made.boxes[0, row, column] = torch.tensor(box)
    return made


def written(rows: torch.Tensor) -> list[str]:
    """The digits of each thing's rows."""
    digits = rows.view(THINGS, CHARACTERS, -1)[..., -DIGITS:]
    said = ["".join("" if at == NONE else str(at) for at in one.argmax(dim=-1).tolist()) for one in digits]
    return [text for text, one in zip(said, digits, strict=True) if bool(one.any())]


def test_the_digits_are_those_that_an_answer_writes() -> None:
    characters = characters_of(torch.tensor(BOX)).tolist()
    text = "".join("" if at == NONE else str(at) for at in characters)
    assert text == "".join(c for c in write_box(BOX) if c.isdigit()) == "1075580"
    assert (int(place_of(torch.tensor(BOX))), int(size_of(torch.tensor(BOX)))) == (3, 2)


def test_shares_keep_their_length_in_a_row() -> None:
    codes = Codes(3, 2)
    rows = codes.write(torch.tensor([0.36, 0.64, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor(BOX))
    assert rows.shape == (CHARACTERS, codes.width)
    assert torch.allclose(rows[5, :3], torch.tensor([0.6, 0.8, 0.0]))
    assert rows[5, 3 + 2 + 9 + 3 :][:CHARACTERS].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


def test_things_are_rows_in_reading_order_and_the_rest_is_nothing() -> None:
    low = (0.5, 0.6, 0.7, 0.9)
    rows = rows_of(seen((10, 8, 0.9, low), (6, 4, 0.6, BOX)), SIZES.codes, 0.35)[0]
    assert written(rows) == ["1075580", "50607090"]
    assert not rows[2 * CHARACTERS :].any()
    assert rows[:, 1].sum() == 2 * CHARACTERS  # their name


def test_a_weak_centre_a_neighbour_and_an_overlap_are_no_things() -> None:
    found = seen((6, 4, 0.9, BOX), (6, 5, 0.8, (0.2, 0.2, 0.4, 0.4)), (9, 4, 0.5, BOX), (1, 12, 0.3, (0.8, 0, 1, 0.2)))
    assert centres(found, 0.35).nonzero().tolist() == [[0, 6, 4]]


def test_pictures_of_a_batch_do_not_see_one_another() -> None:
    torch.manual_seed(0)
    encoder = GridEncoder(SIZES, threshold=0.0)
    for parameter in encoder.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.1)
    pictures = torch.randn(2, 3, 448, 448)
    both = encoder.encode(Modality.IMAGE, pictures)
    assert both.shape == (2, encoder.rows, encoder.dim) == (2, 64, SIZES.codes.width)
    assert both.any()
    torch.testing.assert_close(encoder.encode(Modality.IMAGE, pictures[1:])[0], both[1], rtol=1e-4, atol=1e-4)


def test_what_it_cannot_see_is_refused() -> None:
    encoder = GridEncoder(SIZES)
    with pytest.raises(UnsupportedModality):
        encoder.encode(Modality.AUDIO, torch.zeros(1, 3, 448, 448))
    with pytest.raises(InvalidMedia, match=r"\(3, 224, 224\), the encoder takes \(3, 448, 448\)"):
        encoder.encode(Modality.IMAGE, torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("table", "named"),
    [({"names": 3}, "colours"), ({"names": 3, "colours": 0}, "colours"), ({"names": 1, "colours": 1, "x": 1}, "x")],
)
def test_sizes_that_are_wrong_or_absent_are_named(table: dict[str, int], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        GridSizes.from_config(table)
    assert GridSizes.from_config(SIZES.to_config()) == SIZES
