"""MiniGPT-v2's tasks (Chen et al. 2023, table 1): an identifier before the instruction, boxes behind it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pandagpt_core.boxes import write_boxes
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.types import Box, Conversation, OptionSpec, OptionValue

TASKS = ("vqa", "caption", "grounding", "refer", "identify", "detection")
TASK = OptionSpec(
    "task",
    "string",
    "What the model is to do with the picture: its identifier is put before the prompt. Without it the model chats.",
    choices=TASKS,
)
BOXES = OptionSpec(
    "boxes",
    "boxes",
    "Places in the last picture that the task identify is about: left, top, right, bottom.",
    unit="of the picture's sides",
    minimum=0.0,
    maximum=1.0,
)
OPTIONS = (TASK, BOXES)
_IDENTIFIER = re.compile(rf"\[({'|'.join(TASKS)})\]")
_A_BOX = re.compile(r"\{\s*<\s*\d")


def with_task(conversation: Conversation, *, typed_tasks: bool) -> Conversation:
    """The conversation whose last turn has the identifier and the boxes of its options, as the model was trained.

    An identifier that begins the text is the task as well. Raises InvalidRequest for a task without a picture, boxes of
    another task than identify, identify without a box, two tasks at once, and an identifier in the text where
    `typed_tasks` is False.
    """
    task, boxes = _given(conversation.options)
    last = conversation.turns[-1]
    typed = _typed(conversation, task, typed_tasks)
    if task is None and typed is None and not boxes:
        return conversation
    if last.role != "user":
        raise InvalidRequest("a task is about the last message, which must be the user's", param="task")
    _check(task or typed, boxes, last.text, bool(conversation.media))
    text = (f"[{task}] " if task else "") + last.text + (f" {write_boxes(boxes)}" if boxes else "")
    return replace(conversation, turns=(*conversation.turns[:-1], replace(last, text=text)))


def _given(options: Mapping[str, OptionValue]) -> tuple[str | None, Sequence[Box]]:
    """Their kinds were checked with the conversation."""
    task, boxes = options.get("task"), options.get("boxes", ())
    assert task is None or isinstance(task, str)
    assert isinstance(boxes, tuple)
    return task, boxes


def _typed(conversation: Conversation, task: str | None, typed_tasks: bool) -> str | None:
    """The task whose identifier begins the last message of the caller, where it has one."""
    texts = [turn.text for turn in conversation.turns if turn.role != "assistant"]
    if not typed_tasks and any(map(_IDENTIFIER.search, texts)):
        raise InvalidRequest("a task's identifier may not be typed in the text; use the field task", param="task")
    last = conversation.turns[-1]
    typed = _IDENTIFIER.match(last.text.lstrip()) if last.role == "user" else None
    if typed is not None and task is not None:
        raise InvalidRequest(f"the text begins with {typed.group()} and the field task is {task}", param="task")
    return None if typed is None else typed.group(1)


def _check(task: str | None, boxes: Sequence[Box], text: str, has_picture: bool) -> None:
    if task != "identify" and boxes:
        raise InvalidRequest(f"boxes are of the task identify; the task is {task or 'not given'}", param="boxes")
    if not has_picture:
        raise InvalidRequest(f"the task {task} needs a picture; the conversation has none", param="task")
    if task == "identify" and not boxes and not _A_BOX.search(text):
        raise InvalidRequest("the task identify needs boxes; none are given", param="boxes")
