"""Boxes of an answer: which text is one, which is listed apart, when a stream gives it; the original's faults."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandagpt_core.boxes import (
    MOST_BOXES,
    BoxReader,
    Located,
    best_iou,
    iou,
    parse_box,
    read_boxes,
    to_norm,
    to_pixels,
    write_box,
    write_boxes,
)

BOX = (0.01, 0.02, 0.03, 0.04)
DOG = (0.1, 0.2, 0.55, 0.8)
# Texts that the original reads otherwise, and our results: place in the vectors -> (boxes, malformed).
MENDED: dict[int, tuple[list[tuple[str | None, tuple[float, ...]]], tuple[str, ...]]] = {
    6: ([], ()),  # four numbers anywhere made a box
    8: ([], ("{<10><20><55><80>",)),  # a box that the end cuts off was read as whole
    13: ([(None, DOG)], ()),  # a phrase without an end lost its box
    16: ([("dog", (0.0, 0.2, 0.55, 1.0))], ()),  # no clamping
    17: ([("dog", DOG)], ()),  # no order of corners
    19: ([], ("{10,20,55,80}",)),  # any four numbers in braces made a box
    21: ([], ("{&lt;10&gt;&lt;20&gt;&lt;55&gt;&lt;80&gt;}",)),  # its page's own escapes were read as the model's
    24: ([("a", BOX)], ()),  # a second </p> lost the box
    25: ([(None, BOX)], ()),  # an empty phrase was a phrase
    26: ([("two\nlines", BOX)], ()),  # a newline lost the phrase
    27: ([("dog", BOX), ("dog", (0.05, 0.06, 0.07, 0.08))], ()),  # a box right behind a box was lost
    31: ([("b", BOX)], ()),  # a second <p> was part of the phrase
    32: ([], ("{\\<10\\>\\<20\\>\\<55\\>\\<80\\>}",)),  # its page's own escapes again
    33: ([], ()),
}


@pytest.fixture(scope="module")
def cases(golden: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((golden / "minigpt-v2-tiny" / "cases.json").read_text())
    return said


def rounded(objects: tuple[Located, ...]) -> list[tuple[str | None, tuple[float, ...]]]:
    return [(one.label, tuple(round(side, 4) for side in one.box)) for one in objects]


def of_the_original(case: dict[str, Any]) -> list[tuple[str | None, tuple[float, ...]]]:
    if case["result"] is None:
        return []
    sides, found = case["result"]["resized_image_size"], case["result"]["entities"]
    by_label = found.items() if isinstance(found, dict) else [(None, found)]
    return [
        (label, tuple(round(side, 4) for side in to_norm(tuple(box), *sides)))
        for label, many in by_label
        for box in many
    ]


def test_boxes_are_the_originals_but_for_its_faults(cases: dict[str, Any]) -> None:
    assert len(cases["boxes"]) == 35
    for index, case in enumerate(cases["boxes"]):
        found = read_boxes(case["text"])
        if index in MENDED:
            assert (rounded(found.objects), found.malformed) == MENDED[index]
            assert rounded(found.objects) != of_the_original(case)
        else:
            assert rounded(found.objects) == of_the_original(case)


def test_boxes_are_written_as_the_data_sets_of_the_original_write_them(cases: dict[str, Any]) -> None:
    for case in cases["dataset_box_text"]:
        x, y, width, height = case["xywh"]
        assert write_box(to_norm((x, y, x + width, y + height), *case["image_size"])) == case["text"]


@given(st.text("<p>/delim{}0159 -\nab", max_size=300), st.integers(1, 7))
def test_a_stream_gives_what_the_whole_text_gives(text: str, step: int) -> None:
    reader, given_out = BoxReader(), []
    for start in range(0, len(text), step):
        given_out += reader.feed(text[start : start + step])
    assert reader.finish() == read_boxes(text)
    assert tuple(given_out) == read_boxes(text).objects


def test_a_box_is_given_at_its_closing_brace() -> None:
    reader = BoxReader()
    assert reader.feed("<p>a dog</p> {<10><20><55><80>") == ()
    assert rounded(reader.feed("}<delim>{<1>")) == [("a dog", DOG)]
    assert rounded(reader.feed("<2><3><4>} and <p>a cat</p>")) == [("a dog", BOX)]
    assert reader.feed(" {<5>") == ()
    assert reader.finish().malformed == ("{<5>",)


def test_words_between_a_phrase_and_a_box_part_them() -> None:
    found = read_boxes("<p>dog</p> lies at {<1><2><3><4>}")
    assert rounded(found.objects) == [(None, BOX)]


def test_braces_without_numbers_are_prose() -> None:
    assert read_boxes("a {note} and {").malformed == ()


def test_what_one_answer_may_list_is_bounded() -> None:
    found = read_boxes("{<1><2><3><4>}{<1>}" * MOST_BOXES)
    assert len(found.objects) + len(found.malformed) == MOST_BOXES


@given(st.tuples(*[st.integers(0, 100)] * 4))
def test_a_box_on_the_grid_is_read_as_it_was_written(corners: tuple[int, ...]) -> None:
    left, top, right, bottom = corners
    box = (min(left, right) / 100, min(top, bottom) / 100, max(left, right) / 100, max(top, bottom) / 100)
    assert parse_box(write_box(box)) == box


def test_several_boxes_are_joined_as_the_model_joins_them() -> None:
    assert write_boxes([BOX, DOG]) == "{<1><2><3><4>}<delim>{<10><20><55><80>}"


def test_pixels_and_shares_of_the_sides_are_one_anothers_inverse() -> None:
    assert to_pixels((0.25, 0.5, 0.5, 1.0), 640, 480) == (160.0, 240.0, 320.0, 480.0)
    assert to_norm((160.0, 240.0, 320.0, 480.0), 640, 480) == (0.25, 0.5, 0.5, 1.0)


def test_overlap_is_the_shared_area_over_the_whole() -> None:
    assert iou((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0.0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0
    assert best_iou((0, 0, 2, 1), [(5, 5, 6, 6), (0, 0, 2, 1)]) == 1.0
