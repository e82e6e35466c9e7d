"""The grid encoder: rows are lines of words about things, in reading order, which a language model can read."""

import pytest
import torch

from pandagpt_core.boxes import write_box
from pandagpt_core.encoders.grid.encoder import SIDE, GridEncoder, GridFeatures, centres, rows_of
from pandagpt_core.encoders.grid.lines import FoundThings, LineWriter, place_of
from pandagpt_core.encoders.grid.sizes import THINGS, GridSizes
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.types import Modality
from tests.grid_words import GRID_WORDS

SIZES = GridSizes(GRID_WORDS, width=8, depth=1)
BOX = (0.1, 0.07, 0.55, 0.8)
LOW = (0.5, 0.6, 0.7, 0.9)


def seen(*things: tuple[int, int, float, tuple[float, float, float, float]], name: int = 1) -> GridFeatures:
    """Nothing but these: row and column of the cell, how likely it is a centre, its box; all of one name, colour 0."""
    made = GridFeatures(
        torch.full((1, SIDE, SIDE), -9.0),
        torch.zeros(1, SIDE, SIDE, 3),
        torch.zeros(1, SIDE, SIDE, 2),
        torch.zeros(1, SIDE, SIDE, 4),
    )
    made.names[..., name] = made.colours[..., 0] = 50.0
    for row, column, likely, box in things:
        made.centre[0, row, column] = torch.tensor(likely).logit()
        made.boxes[0, row, column] = torch.tensor(box)
    return made


def read(rows: torch.Tensor) -> str:
    """The likeliest piece of each row, without the empty lines before them."""
    return "".join(GRID_WORDS.pieces[at] for at in rows.argmax(dim=-1).tolist()).lstrip("\n")


def test_a_line_has_colour_name_count_place_and_the_digits_of_an_answer() -> None:
    rows = rows_of(seen((6, 4, 0.6, BOX)), GRID_WORDS, 0.35)[0]
    assert read(rows) == "1\nred ice cream1left<10><7><55><80\n"
    assert write_box(BOX) == "{<10><7><55><80>}"
    assert int(place_of(torch.tensor(BOX))) == 3


def test_lines_stand_in_reading_order_and_end_where_the_question_begins() -> None:
    rows = rows_of(seen((10, 8, 0.9, LOW), (6, 4, 0.6, BOX), name=0), GRID_WORDS, 0.35)[0]
    assert read(rows) == "2\nred dog2left<10><7><55><80\nred dog2bottom<50><60><70><90\n"
    assert rows.shape == (SIZES.rows, SIZES.row_width)
    assert torch.equal(rows.sum(dim=-1), torch.ones(SIZES.rows))  # one piece each, or an empty line


def test_the_longest_lines_of_all_things_fit() -> None:
    shares = torch.eye(3)[[1] * THINGS][None]
    found = FoundThings(shares, torch.eye(2)[[0] * THINGS][None], torch.tensor([[[0.7, 0.1, 0.9, 0.2]] * THINGS]),
                        torch.ones(1, THINGS, dtype=torch.bool))  # fmt: skip
    text = read(LineWriter(GRID_WORDS).write(found)[0])
    assert text == f"{THINGS}\n" + f"red ice cream{THINGS}top right<70><10><90><20\n" * THINGS


def test_a_picture_of_nothing_counts_none() -> None:
    assert read(rows_of(seen(), GRID_WORDS, 0.35)[0]) == "0\n"


def test_a_doubt_is_shared_between_two_words_in_one_row() -> None:
    names, colours = torch.tensor([[[0.6, 0.0, 0.4]]]), torch.tensor([[[0.3, 0.7]]])
    found = FoundThings(names, colours, torch.tensor([[BOX]]), torch.tensor([[True]]))
    rows = LineWriter(GRID_WORDS).write(found)[0]
    column = {piece: at for at, piece in enumerate(GRID_WORDS.pieces)}
    (dog,) = (row for row in rows if row[column[" dog"]] > 0)
    assert dog[[column[" dog"], column[" cat"]]].tolist() == pytest.approx([0.6, 0.4])
    assert rows[:, column["red"]].max() == pytest.approx(0.3)


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
    assert both.shape == (2, encoder.rows, encoder.dim) == (2, SIZES.rows, SIZES.row_width)
    assert both.any()
    torch.testing.assert_close(encoder.encode(Modality.IMAGE, pictures[1:])[0], both[1], rtol=1e-4, atol=1e-4)


def test_what_it_cannot_see_is_refused() -> None:
    encoder = GridEncoder(SIZES)
    with pytest.raises(UnsupportedModality):
        encoder.encode(Modality.AUDIO, torch.zeros(1, 3, 448, 448))
    with pytest.raises(InvalidMedia, match=r"\(3, 224, 224\), the encoder takes \(3, 448, 448\)"):
        encoder.encode(Modality.IMAGE, torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"words": None}, "words"),
        ({"width": 12}, "multiple of 8"),
        ({"depth": 0}, "depth"),
        ({"names": 64}, "names"),  # of an earlier layout of rows
    ],
)
def test_sizes_that_are_wrong_or_absent_are_named(change: dict[str, int | None], named: str) -> None:
    table = {name: value for name, value in (SIZES.to_config() | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=named):
        GridSizes.from_config(table)
    assert GridSizes.from_config(SIZES.to_config()) == SIZES


def test_words_without_a_place_or_a_digit_are_refused() -> None:
    table = SIZES.to_config()
    for name in ("places", "digits"):
        with pytest.raises(CheckpointError, match=name):
            GridSizes.from_config({**table, "words": {**table["words"], name: table["words"][name][1:]}})
