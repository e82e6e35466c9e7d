"""A model that points at places in a picture, and the picture."""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from pandagpt_core.interface import Admitted, EngineStats, PrefixStats, SequenceRequest
from pandagpt_core.systems.minigpt_v2.tasks import OPTIONS, with_task
from pandagpt_core.types import NOTHING_FOUND, Conversation, Found, Modality, ModelInfo, TokenOutput
from tests.fakes import FAKE_INFO

ANSWER = "<p>a dog</p> {<10><20><55><80>}<delim>{<0><0><5><5>} and <p>a cat</p> {<1><2>} {<100><90><50><10>}"
INFO = replace(FAKE_INFO, id="pointing", recipes={Modality.IMAGE: "eva-image-v1"}, options=OPTIONS)


@dataclass
class Pointing:
    """A model that writes `ANSWER` a few characters at a time; `asked` are the conversations it was given.

    waits: it never comes to the end.
    """

    info: ModelInfo = INFO
    waits: bool = False
    asked: list[Conversation] = field(default_factory=list)
    _left: dict[str, tuple[int, int]] = field(default_factory=dict)

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros((2, 4), np.float16) for _ in arrays]

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def parse(self, text: str) -> dict[str, Any]:
        return {"objects": [], "length": len(text)}

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        yield NOTHING_FOUND

    def admit(self, request: SequenceRequest) -> Admitted:
        self.asked.append(with_task(request.conversation, typed_tasks=True))
        self._left[request.id] = (len(request.resume), request.params.max_tokens)
        return Admitted(10)

    def step(self) -> list[TokenOutput]:
        outputs = []
        for sequence, (made, most) in list(self._left.items()):
            if self.waits and made:
                time.sleep(0.01)
                continue
            text, ended = ANSWER[made * 5 : made * 5 + 5], made * 5 + 5 >= len(ANSWER)
            finish = "stop" if ended else "length" if made + 1 >= most else None
            outputs.append(TokenOutput(sequence, made, text, finish))
            self._left[sequence] = (made + 1, most)
            if finish:
                del self._left[sequence]
        return outputs

    def abort(self, sequence_id: str) -> None:
        self._left.pop(sequence_id, None)

    @property
    def has_work(self) -> bool:
        return bool(self._left)

    def stats(self) -> EngineStats:
        return EngineStats(len(self._left), 0, 0, 1, 0, PrefixStats(0, 0, 0, 0, 0))

    def close(self) -> None:
        """Nothing to free."""


def picture(width: int = 200, height: int = 100, orientation: int = 1) -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    shown = Image.new("RGB", (width, height), "grey")
    shown.paste("white", (0, 0, width // 2, height))  # of one colour alone it would be said to show nothing
    shown.save(out, "PNG", exif=exif)
    return out.getvalue()
