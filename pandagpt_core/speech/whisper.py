"""Whisper by CTranslate2: one window of 30 s at a time, with the rules of the paper for long sounds (section 4.5).

A beam search first; where its text repeats itself or is unlikely, sampling at rising temperatures. A window is silent
where the model finds so and is not sure of its text.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pandagpt_core.errors import CheckpointError
from pandagpt_core.speech.base import (
    FRAMES_A_SECOND,
    HOP,
    WINDOW_FRAMES,
    HeardWindow,
    Samples,
    SpeechOptions,
    SpeechState,
    SpokenSegment,
    SpokenWord,
    frames_of,
)
from pandagpt_core.speech.features import log_mel
from pandagpt_core.speech.folder import MODEL, TOKENIZER, read_speech_folder
from pandagpt_core.speech.timestamps import StampedSegment, split, token_frames, words_of
from pandagpt_core.types import SpeechInfo

if TYPE_CHECKING:
    import ctranslate2
    from tokenizers import Tokenizer

RECIPE = "speech-audio-v1"
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BEAM = 5
MOST_REPEATS = 2.4  # the text's size over its compressed size
LEAST_LOGPROB = -1.0
# Of whisper-base in int8 white and pink noise have 0.59 and more, speech beside noise or 26 dB down 0.45 and less. The
# text that it writes of noise has -0.9 and less; of a hum it writes "You" and is sure of it, at 0.9.
NO_SPEECH, SURELY_NO_SPEECH = 0.5, 0.75
UNSURE_LOGPROB = -0.8
SILENT = 3  # of int16's 32,768, -80 dB: a window whose peak is below it is digital silence
CONTEXT = 223  # tokens of text before the window that the model reads
LONGEST = 448  # tokens of a window, with what is in front of them
GOOD_CONTEXT = 0.5  # the temperature above which a window's text is none for the next one


@dataclass(frozen=True, slots=True)
class _WindowText:
    """A window's tokens. logprob: their mean, by natural logarithm."""

    tokens: list[int]
    text: str
    temperature: float
    logprob: float
    repeats: float
    no_speech: float

    @property
    def is_good(self) -> bool:
        return self.repeats <= MOST_REPEATS and self.logprob >= LEAST_LOGPROB

    @property
    def is_silence(self) -> bool:
        unsure = self.logprob < UNSURE_LOGPROB
        return self.no_speech > SURELY_NO_SPEECH or (self.no_speech > NO_SPEECH and unsure)


class Whisper:
    """threads: of one window; 0 leaves it to the library. Raises CheckpointError, and what reading a folder raises."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        folder = read_speech_folder(path)
        self._library, self._model, self._tokenizer = _load(path, threads)
        self._sot, self._previous = self._id("<|startoftranscript|>"), self._id("<|startofprev|>")
        self._end, self._first_stamp = self._id("<|endoftext|>"), self._id("<|notimestamps|>") + 1
        self._bands: int = self._model.n_mels
        self.id = folder.id
        self.info = SpeechInfo(RECIPE, folder.files[MODEL], self._languages())

    def hear(self, samples: Samples, state: SpeechState, options: SpeechOptions) -> HeardWindow:
        frames = min(WINDOW_FRAMES, frames_of(samples) - state.frame)
        if _peak(samples, state.frame) <= SILENT:
            return HeardWindow((), state.frame + frames, state.language)
        mel = np.ascontiguousarray(log_mel(samples, state.frame, self._bands)[None])
        encoded = self._model.encode(self._library.StorageView.from_array(mel))
        language = options.language or state.language or self._language(encoded)
        written = self._write(encoded, self._prompt(state, options, language), state, options)
        if written.is_silence:
            return HeardWindow((), state.frame + frames, language)
        stamped, follow = split(written.tokens, self._first_stamp, frames)
        segments = [self._segment(one, state.frame, written) for one in stamped]
        if options.words and segments:
            segments = self._with_words(encoded, segments, options, language, state.frame, frames)
        sampled = written.temperature > GOOD_CONTEXT
        kept = tuple(one for one in segments if one.text.strip())
        return HeardWindow(kept, state.frame + follow, language, sampled)

    def _prompt(self, state: SpeechState, options: SpeechOptions, language: str) -> list[int]:
        context = [*(self._encode(f" {options.prompt.strip()}") if options.prompt.strip() else ()), *state.context]
        before = [self._previous, *context[-CONTEXT:]] if context else []
        return [*before, *self._start(options, language)]

    def _start(self, options: SpeechOptions, language: str) -> list[int]:
        return [self._sot, self._id(f"<|{language}|>"), self._id(f"<|{options.task}|>")]

    def _write(self, encoded: Any, prompt: list[int], state: SpeechState, options: SpeechOptions) -> _WindowText:
        """The first text that is good, else the likeliest."""
        tried = []
        for temperature in TEMPERATURES if options.temperature == 0 else (options.temperature,):
            tried.append(self._once(encoded, prompt, temperature, options.seed + state.frame))
            if tried[-1].is_good or tried[-1].is_silence:
                return tried[-1]
        return max(tried, key=lambda one: (one.repeats <= MOST_REPEATS, one.logprob))

    def _once(self, encoded: Any, prompt: list[int], temperature: float, seed: int) -> _WindowText:
        how: dict[str, Any] = {"beam_size": BEAM}
        if temperature > 0:
            self._library.set_random_seed(seed % 2**31)
            how = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature}
        limit = min(LONGEST, len(prompt) + LONGEST // 2)
        (found,) = self._model.generate(
            encoded, [prompt], max_length=limit, return_scores=True, return_no_speech_prob=True, **how
        )
        tokens = list(found.sequences_ids[0])
        text = self._decode(tokens)
        data = text.strip().encode()
        repeats = len(data) / len(zlib.compress(data)) if data else 1.0
        # The score is a mean over the tokens; the end is one more.
        logprob = found.scores[0] * len(tokens) / (len(tokens) + 1)
        return _WindowText(tokens, text, temperature, logprob, repeats, found.no_speech_prob)

    def _segment(self, one: StampedSegment, offset: int, written: _WindowText) -> SpokenSegment:
        start, end = ((offset + frame) / FRAMES_A_SECOND for frame in (one.start, one.end))
        return SpokenSegment(
            start,
            end,
            self._decode(one.tokens),
            one.tokens,
            written.temperature,
            written.logprob,
            written.repeats,
            written.no_speech,
        )

    def _with_words(
        self,
        encoded: Any,
        segments: Sequence[SpokenSegment],
        options: SpeechOptions,
        language: str,
        offset: int,
        frames: int,
    ) -> list[SpokenSegment]:
        tokens = [token for segment in segments for token in segment.tokens]
        (aligned,) = self._model.align(encoded, self._start(options, language), [tokens], frames)
        starts = token_frames(aligned.alignments, len(tokens))
        timed, begin = [], 0
        for segment in segments:
            words = [
                SpokenWord(
                    word.text.strip(),
                    (offset + starts[begin + word.start]) / FRAMES_A_SECOND,
                    (offset + starts[begin + word.end]) / FRAMES_A_SECOND,
                )
                for word in words_of(segment.tokens, self._decode, language)
            ]
            begin += len(segment.tokens)
            timed.append(replace(segment, words=tuple(words)))
        return timed

    def _language(self, encoded: Any) -> str:
        ((best, _), *_) = self._model.detect_language(encoded)[0]
        return str(best).strip("<|>")

    def _languages(self) -> tuple[str, ...]:
        """The codes between the start and the tasks, as the vocabulary has them."""
        first, last = self._sot + 1, self._id("<|translate|>")
        return tuple(str(self._tokenizer.id_to_token(one)).strip("<|>") for one in range(first, last))

    def _id(self, piece: str) -> int:
        found = self._tokenizer.token_to_id(piece)
        if found is None:
            raise CheckpointError(f"the recogniser's {TOKENIZER} has no {piece}")
        return int(found)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([token for token in tokens if token < self._end]))


def _peak(samples: Samples, frame: int) -> int:
    window = samples[frame * HOP : (frame + WINDOW_FRAMES) * HOP].astype(np.int32)
    return int(np.abs(window).max(initial=0))


def _load(path: Path, threads: int) -> "tuple[ModuleType, ctranslate2.models.Whisper, Tokenizer]":
    """The library, and what it reads of the folder."""
    try:
        import ctranslate2  # of the extra `speech`
        from tokenizers import Tokenizer
    except ImportError as error:
        how = "requirements/install speech, or pip install -e '.[speech]'"
        raise CheckpointError(f"speech needs {error.name}, which is not installed: {how}") from error
    try:
        model = ctranslate2.models.Whisper(str(path), device="cpu", compute_type="int8", intra_threads=threads)
        return ctranslate2, model, Tokenizer.from_file(str(path / TOKENIZER))
    except Exception as error:  # both libraries raise plain exceptions of their own
        raise CheckpointError(f"{path} cannot be read as a Whisper of CTranslate2") from error
