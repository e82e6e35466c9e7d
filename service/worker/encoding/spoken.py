"""Speech in the sounds of a chat: written down beside the encoders, and put into the turn that holds the sound."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from pandagpt_core.interface import ServedModel
from pandagpt_core.speech.base import Recogniser, SpeechOptions, SpokenSegment, joined_text, windows
from pandagpt_core.types import Conversation, Fields, Modality
from service.broker.protocol import Generate
from service.worker.encoding.encoder_executor import SPEECH, Encoded

log = logging.getLogger(__name__)
NO_SPEECH = 0.6  # the probability above which a window's text is left out
CHARACTERS_A_TOKEN = 8  # no text has more on average; the rest is cut before tokens are counted
# The line in front of the turn's text. With several sounds each is named by its number among the turn's.
ONE, SEVERAL = 'Someone in the sound says: "{}"', 'Someone in sound {} says: "{}"'


class SpokenText(msgspec.Struct, frozen=True):
    """The speech in a sound, as it is kept beside embeddings: JSON in an array of bytes."""

    text: str = ""
    language: str = ""

    def packed(self) -> np.ndarray:
        return np.frombuffer(msgspec.json.encode(self), np.uint8)[None]


NOTHING = SpokenText().packed()
_decoder = msgspec.json.Decoder(SpokenText)


def written_down(recogniser: Recogniser, arrays: Mapping[str, np.ndarray]) -> Encoded:
    """A sound that cannot be written down has no text: an answer does without. Raises nothing."""
    begun = time.perf_counter()
    texts = {name: _written(recogniser, samples).packed() for name, samples in arrays.items()}
    return Encoded(SPEECH, texts, {}, time.perf_counter() - begun)


def _written(recogniser: Recogniser, samples: np.ndarray) -> SpokenText:
    found: list[SpokenSegment] = []
    language = ""
    try:
        for window in windows(recogniser, samples.reshape(-1), SpeechOptions()):
            found += [segment for segment in window.segments if segment.no_speech <= NO_SPEECH]
            language = window.language
            if sum(len(segment.tokens) for segment in found) >= recogniser.info.context_tokens:
                break
    except Exception:
        log.exception("a sound could not be written down")
    text = joined_text(found)
    return SpokenText(text, language if text else "")


def spoken_texts(request: Generate, embeddings: Mapping[str, np.ndarray]) -> list[tuple[int, int, SpokenText]]:
    """(turn, number among the turn's sounds, text) of each sound in which someone speaks."""
    counts: dict[int, int] = {}
    found = []
    for part in request.speech:
        counts[part.turn] = counts.get(part.turn, 0) + 1
        if part.blob in embeddings:
            spoken = _decoder.decode(embeddings[part.blob].tobytes())
            found += [(part.turn, counts[part.turn], spoken)] if spoken.text else []
    return found


def with_speech(
    asked: Conversation, texts: Sequence[tuple[int, int, SpokenText]], runtime: ServedModel, tokens: int
) -> Conversation:
    """The conversation with a line in front of each turn whose sounds hold speech, at most `tokens` of each."""
    lines: dict[int, str] = {}
    for turn, number, spoken in texts:
        several = sum(use.turn == turn and use.modality == Modality.AUDIO for use in asked.media) > 1
        text = _cut(spoken.text, runtime, tokens)
        line = SEVERAL.format(number, text) if several else ONE.format(text)
        lines[turn] = f"{lines.get(turn, '')}{line}\n"
    return replace(
        asked,
        turns=tuple(replace(turn, text=lines.get(at, "") + turn.text) for at, turn in enumerate(asked.turns)),
    )


def speech_fields(texts: Sequence[tuple[int, int, SpokenText]]) -> Fields:
    """For the answer's fields."""
    found = [{"turn": turn, "language": spoken.language, "text": spoken.text} for turn, _, spoken in texts]
    return {"speech": found} if found else {}


def _cut(text: str, runtime: ServedModel, tokens: int) -> str:
    short = text[: tokens * CHARACTERS_A_TOKEN]
    ids = runtime.tokenize(short, special=False)
    return short if len(ids) <= tokens else runtime.detokenize(ids[:tokens]).rstrip()
