"""The phases of a first token add up to what the client saw."""

import io

from PIL import Image

from benchmarks.first_token import PHASES, TIMES, kinds, medians, phases, picture


def test_the_phases_are_the_times_between_and_add_up() -> None:
    times = dict(zip(TIMES, (10.0, 10.02, 10.021, 10.07, 10.2, 10.203), strict=True))
    found = phases(times)
    assert [round(found[name], 6) for name in PHASES] == [20, 1, 49, 130, 3]
    assert round(sum(found[name] for name in PHASES), 6) == round(found["whole"], 6) == 203


def test_medians_are_of_each_phase_by_itself() -> None:
    rows = [dict.fromkeys((*PHASES, "whole"), value) for value in (1.0, 5.0, 2.0)]
    assert medians(rows) == dict.fromkeys((*PHASES, "whole"), 2.0)


def test_a_new_picture_is_new_each_time_and_the_other_the_same() -> None:
    new, same = kinds()["new picture"], kinds()["picture sent before"]
    assert new(1)["image"][1] != new(2)["image"][1]
    assert same(1) == same(2)
    assert Image.open(io.BytesIO(picture(3))).size == (256, 256)
