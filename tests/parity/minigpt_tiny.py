"""The chats of MiniGPT-v2's golden vectors, by the contents of cases.json and cases.safetensors."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests import golden as vectors

PART = "minigpt-v2-tiny"
TASK = re.compile(r"\[(\w+)\] ")
BOX = re.compile(r" \{<(\d+)><(\d+)><(\d+)><(\d+)>\}$")


def of_the_demo(chat: Mapping[str, Any]) -> bool:
    """Whether the streaming demo put "</s>" for every answer. No caller's text can be that: its rows are given."""
    return any("</s>" in answer for _, answer in chat["history"] or ())


def has_boxes(chat: Mapping[str, Any]) -> bool:
    return (
        not chat["history"] and TASK.match(chat["user_text"]) is not None and BOX.search(chat["user_text"]) is not None
    )


def has_task(chat: Mapping[str, Any]) -> bool:
    return not chat["history"] and TASK.match(chat["user_text"]) is not None and not has_boxes(chat)


def split(chat: Mapping[str, Any]) -> tuple[str, str, tuple[float, ...]]:
    """The task, the words and the box in shares of the picture's sides; empty where the question has none."""
    text: str = chat["user_text"]
    task, box = TASK.match(text), BOX.search(text)
    words = text[task.end() if task else 0 : box.start() if box else None]
    return task[1] if task else "", words, tuple(int(number) / 100 for number in box.groups()) if box else ()


@dataclass(frozen=True)
class Golden:
    folder: Path
    said: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    @classmethod
    def read(cls, golden: Path) -> "Golden":
        folder = golden / PART
        return cls(folder, json.loads((folder / "cases.json").read_text()), load_file(folder / "cases.safetensors"))

    def picture(self, name: str) -> bytes:
        """A picture of `preprocess` or `encode_img`. Skips the case where it is absent."""
        stated = self.said["preprocess"].get(name, {})
        return vectors.medium(self.folder / stated.get("path", f"media/{name}"))

    def picture_of(self, chat: str) -> str:
        """The name of the chat's picture: the one of `encode_img` whose rows stand in the chat's prompt."""
        start = len(self.said["chat"][chat]["segment_ids"][0])
        rows = self.tensors[f"chat/{chat}/inputs_embeds"][0, start:]
        encoded = {name: rows_ for name, rows_ in self.tensors.items() if name.startswith("encode_img/")}
        apart = {name: float((rows[: rows_.shape[1]] - rows_[0]).abs().max()) for name, rows_ in encoded.items()}
        nearest = min(apart, key=apart.__getitem__)
        assert apart[nearest] < 1e-4, f"no picture of encode_img stands in the prompt of {chat}"
        return nearest.partition("/")[2]
