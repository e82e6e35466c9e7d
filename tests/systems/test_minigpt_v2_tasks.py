"""Tasks and boxes of a request: how they are written, and which requests are refused with which words."""

import pytest

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.options import MAX_BOXES, checked_options
from pandagpt_core.systems.minigpt_v2.tasks import OPTIONS, TASKS, with_task
from pandagpt_core.types import Conversation, MediaUse, Modality, OptionValue, Turn

PICTURE = (MediaUse(Modality.IMAGE, "a", 0),)
BOX = (0.1, 0.2, 0.5, 0.6)


def asked(text: str, media: tuple[MediaUse, ...] = PICTURE, **options: OptionValue) -> Conversation:
    return Conversation((Turn("user", text),), media, options)


def written(conversation: Conversation, *, typed_tasks: bool = True) -> str:
    return with_task(conversation, typed_tasks=typed_tasks).turns[-1].text


@pytest.mark.parametrize("task", [task for task in TASKS if task != "identify"])
def test_an_identifier_goes_before_the_text(task: str) -> None:
    assert written(asked("the dog", task=task)) == f"[{task}] the dog"


def test_boxes_go_behind_it_on_the_grid() -> None:
    text = written(asked("what is this", task="identify", boxes=(BOX, (0.0, 0.0, 1.0, 1.0))))
    assert text == "[identify] what is this {<10><20><50><60>}<delim>{<0><0><100><100>}"


def test_without_a_task_the_text_is_left_alone() -> None:
    assert written(asked("hello", media=())) == "hello"
    assert written(asked("[vqa] what is this?")) == "[vqa] what is this?"


def test_only_the_last_turn_bears_the_task() -> None:
    talk = Conversation((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), PICTURE, {"task": "vqa"})
    assert [turn.text for turn in with_task(talk, typed_tasks=True).turns] == ["a", "b", "[vqa] c"]


@pytest.mark.parametrize(
    ("conversation", "param", "words"),
    [
        (asked("x", media=(), task="vqa"), "task", "the task vqa needs a picture; the conversation has none"),
        (asked("x", boxes=(BOX,)), "boxes", "boxes are of the task identify; the task is not given"),
        (asked("x", task="refer", boxes=(BOX,)), "boxes", "boxes are of the task identify; the task is refer"),
        (asked("x", task="identify"), "boxes", "the task identify needs boxes; none are given"),
        (asked("[detection] x", media=()), "task", "the task detection needs a picture; the conversation has none"),
        (asked("[identify] x"), "boxes", "the task identify needs boxes; none are given"),
        (asked("[refer] x", boxes=(BOX,)), "boxes", "boxes are of the task identify; the task is refer"),
        (asked("[vqa] x", task="refer"), "task", r"the text begins with \[vqa\] and the field task is refer"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(conversation: Conversation, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        with_task(conversation, typed_tasks=True)
    assert caught.value.param == param


def test_a_box_may_be_typed_where_an_identifier_may() -> None:
    assert written(asked("what is {<1><2><3><4>}", task="identify")) == "[identify] what is {<1><2><3><4>}"
    assert written(asked("[identify] what is {<1><2><3><4>}")) == "[identify] what is {<1><2><3><4>}"
    assert written(asked("[identify] what is", boxes=(BOX,))) == "[identify] what is {<10><20><50><60>}"


def test_an_identifier_may_be_forbidden_in_the_text() -> None:
    for text in ("[vqa] x", "x [refer] y"):
        with pytest.raises(InvalidRequest, match="may not be typed"):
            with_task(asked(text), typed_tasks=False)
    assert written(asked("x [y]", task="vqa"), typed_tasks=False) == "[vqa] x [y]"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task": "sing"}, "task must be one of vqa, caption"),
        ({"boxes": [[0, 0, 1]]}, "boxes must be a list of"),
        ({"boxes": [[0, 0, 1, 1.5]]}, "boxes is 1.5 of the picture's sides; the limit is 1 of"),
        ({"boxes": [[-0.1, 0, 1, 1]]}, "boxes is -0.1 of the picture's sides; the least is 0 of"),
        ({"boxes": [[0, 0, 1, 1]] * 200}, f"boxes has 200 boxes; the limit is {MAX_BOXES}"),
    ],
)
def test_values_out_of_range_name_the_limit(given: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        checked_options(OPTIONS, given)
