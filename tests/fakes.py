"""Stand-ins for what is slow: a model whose every token is a function of the request, and workers that run it.

    with worker_thread(valkey.settings) as worker: ...          a worker in this process
    with worker_process(valkey.settings, step_delay=0.01) as process: ...   one to kill

Words in the last user turn steer the model: see `FAULTS`. `expected_text` tells what a request's answer will be.
"""

import argparse
import contextlib
import hashlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from pandagpt_core.errors import ContextLengthExceeded, InvalidRequest
from pandagpt_core.interface import Admitted, EngineStats, PlainPrompt, PrefixStats, PromptToken, SequenceRequest
from pandagpt_core.options import checked_options
from pandagpt_core.speech.base import HeardWindow, SpeechOptions, SpeechState, SpokenSegment, SpokenWord
from pandagpt_core.types import (
    Conversation,
    Fields,
    Found,
    Modality,
    ModelInfo,
    OptionSpec,
    SamplingParams,
    SpeechInfo,
    TokenLogprob,
    TokenOutput,
    Turn,
)
from service import logs
from service.broker.worker.heartbeat import STALL_S
from service.metrics import WorkerMetrics
from service.settings import StoreSettings, WorkerSettings
from service.tracing import Tracer
from service.worker.assembly import assembled
from service.worker.jobs import seed_of
from service.worker.loop import Worker
from service.worker.malloc_trim import MallocTrim

ROOT = Path(__file__).parents[1]
DIM = 8
VOCABULARY = 1000
BEGIN = 256  # the token that a text begins with; those below are bytes
ANSWER_TOKENS = 24  # an answer ends by itself ("stop") after so many tokens, unless `ignore_eos`
FAKE_INFO = ModelInfo(
    id="fake",
    system="fake",
    recipes={
        Modality.IMAGE: "imagebind-image-v1",
        Modality.VIDEO: "imagebind-video-v1",
        Modality.AUDIO: "imagebind-audio-v1",
        Modality.DEPTH: "depth-sunrgbd-v1",
        Modality.THERMAL: "imagebind-thermal-v1",
        Modality.IMU: "imu-v1",
        Modality.TEXT: "clip-bpe-v1",
        Modality.POINTS: "points-8192-v1",
    },
    max_model_len=2048,
    embedding_dim=DIM,
    dimensions=(4,),
    encoder_digest="fake-encoder-1",
    version="0",
    created=1_700_000_000,
    options=(
        OptionSpec("shout", "boolean", "Answer with fields that hold the number of words.", default=False),
        OptionSpec("strength", "number", "Changes the answer.", default=0.0, minimum=0, maximum=1),
    ),
)
FAKE_SPEECH = SpeechInfo("speech-audio-v1", "fake-recogniser-1", ("en", "de", "zh"), 60.0, 8)
FAULTS = {
    "FAULT-REFUSED": "admit raises ValueError",
    "FAULT-SEARCH": "the last piece of the search for its media raises ValueError",
    "FAULT-SEQUENCE": "the sequence's third token is an error",
    "FAULT-STEP": "the step that makes the sequence's third token raises",
    "FAULT-CRASH": "the process dies at the sequence's third token",
}


@dataclass
class _Sequence:
    key: str
    tags: str
    params: SamplingParams
    faults: frozenset[str]
    made: int
    text: str = ""


@dataclass
class FakeRuntime:
    """The worker's `Runtime` without a model. `step_delay` and `encode_delay` in seconds.

    While `hold_after` is a number, an answer of so many tokens gets no further one: it stays in its middle.

    The first token's text names the media (`<image:1a2b3c4d>`), each further token is ` w<id>`. `faulty` False ignores
    the words of `FAULTS`. For tests that look: `encoded` counts media by modality, `batches` lists (modality, size),
    `aborted` sequence ids, `scored` counts tokens of prompts with log probabilities, `explained` pieces of
    explanations, `looked_up` pieces of searches, of which each request has `look_up_pieces`.
    """

    step_delay: float = 0.0
    encode_delay: float = 0.0
    hold_after: int | None = None
    info: ModelInfo = FAKE_INFO
    faulty: bool = True
    encoded: dict[Modality, int] = field(default_factory=dict)
    batches: list[tuple[Modality, int]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    look_up_pieces: int = 0
    looked_up: int = 0
    scored: int = 0
    explained: int = 0
    _sequences: dict[str, _Sequence] = field(default_factory=dict)

    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        time.sleep(self.encode_delay)
        self.encoded[modality] = self.encoded.get(modality, 0) + len(arrays)
        self.batches.append((modality, len(arrays)))
        if any(array.size == 0 for array in arrays):
            raise ValueError("an empty array")
        return [fake_embedding(modality, array) for array in arrays]

    def unit(self, modality: Modality, embedding: np.ndarray) -> np.ndarray:
        if not (norm := np.linalg.norm(embedding)):
            raise ValueError("a vector without a direction")
        return (embedding[0] / norm).astype(np.float32)

    def parse(self, text: str) -> dict[str, int] | None:
        """The number of words of an answer that begins with a mark (the option `shout`)."""
        return {"words": len(text.split())} if text.startswith("!") else None

    def tokenize(self, prompt: PlainPrompt | Conversation, special: bool = True) -> list[int]:
        """A token a byte, behind `BEGIN` where that is wanted; a conversation's turns in their order."""
        if isinstance(prompt, Conversation):
            return [BEGIN, *"".join(f"{turn.role}:{turn.text}" for turn in prompt.turns).encode()]
        if not isinstance(prompt, str):
            if unknown := [one for one in prompt if one >= VOCABULARY]:
                raise InvalidRequest(
                    f"the token id {unknown[0]} is outside of the vocabulary of {VOCABULARY}", param="prompt"
                )
            return list(prompt)
        return [*([BEGIN] if special else []), *prompt.encode()]

    def detokenize(self, ids: Sequence[int]) -> str:
        return bytes(one for one in self.tokenize(ids) if one < BEGIN).decode(errors="replace")

    def check_explains(self, request: SequenceRequest) -> None:
        if self.info.system == "unexplained":
            raise InvalidRequest("this model explains nothing", param="explain")

    def explain(self, request: SequenceRequest, answer: Sequence[int]) -> Iterator[Fields | None]:
        """A piece a medium; each makes the answer likelier by one nat a token."""
        for _ in request.conversation.media:
            time.sleep(self.step_delay)
            self.explained += 1
            yield None
        media = [{"modality": str(use.modality), "gain": len(answer)} for use in request.conversation.media]
        yield {"contributions": {"tokens": len(answer), "read_tokens": 10 * len(media), "media": media}}

    def prompt_tokens(self, prompt: PlainPrompt, top: int | None) -> Iterator[list[PromptToken]]:
        """Token by token where they are scored: a byte less likely than the last one, from the second on."""
        found = [PromptToken(one, bytes([one]) if one < BEGIN else b"") for one in self.tokenize(prompt)]
        if top is None:
            yield found
            return
        others = tuple((32 + rank, bytes([32 + rank]), -1.0 - rank) for rank in range(top))
        for at, one in enumerate(found):
            time.sleep(self.step_delay)
            self.scored += 1
            yield [replace(one, logprob=-float(at), top=others) if at else one]

    def look_up(self, request: SequenceRequest) -> Iterator[Found | None]:
        """As long as `look_up_pieces` says; what is found names the media."""
        for _ in range(self.look_up_pieces):
            yield None
            time.sleep(self.step_delay)
            self.looked_up += 1
        if "FAULT-SEARCH" in self._faults(request.conversation.turns[-1].text):
            raise ValueError("no such row")
        yield {(use.digest.encode(), 1): ((1.0,), (0,)) for use in request.conversation.media}

    def admit(self, request: SequenceRequest) -> Admitted:
        conversation, embeddings, params = request.conversation, request.embeddings, request.params
        if request.prompt is not None:
            conversation = Conversation((Turn("user", self.detokenize(self.tokenize(request.prompt))),))
        last = conversation.turns[-1].text
        if "FAULT-REFUSED" in self._faults(last):
            raise ValueError("refused")
        prompt = prompt_tokens(conversation) if request.prompt is None else len(self.tokenize(request.prompt))
        if prompt >= self.info.max_model_len:
            raise ContextLengthExceeded.of(self.info.max_model_len, f"the prompt has {prompt} tokens")
        checked_options(self.info.options, conversation.options)
        key, tags = _key(conversation, embeddings, params), _tags(conversation, embeddings)
        sequence = _Sequence(key, tags, params, self._faults(last), made=0)
        for token_id in request.resume:
            assert token_id == self._next(sequence)[0], "the tokens to resume from are not this request's"
        if len(request.resume) >= params.max_tokens:
            return Admitted(prompt, finished="length")
        self._sequences[request.id] = sequence
        return Admitted(prompt)

    def step(self) -> list[TokenOutput]:
        time.sleep(self.step_delay)
        outputs = []
        for sequence_id, sequence in self._sequences.items():
            if self.hold_after is not None and sequence.made >= self.hold_after:
                continue
            third = sequence.made == 2
            if third and "FAULT-CRASH" in sequence.faults:
                os.kill(os.getpid(), signal.SIGKILL)
            if third and "FAULT-STEP" in sequence.faults:
                raise RuntimeError("a step failed")
            if third and "FAULT-SEQUENCE" in sequence.faults:
                outputs.append(TokenOutput(sequence_id, 0, "", error="the sequence failed"))
                continue
            token_id, text, finish = self._next(sequence)
            logprob = _logprob(sequence, token_id, text) if sequence.params.logprobs is not None else None
            outputs.append(TokenOutput(sequence_id, token_id, text, finish, logprob))
        for output in outputs:
            if output.finish_reason or output.error:
                del self._sequences[output.sequence_id]
        if not outputs:
            time.sleep(0.01)
        return outputs

    def abort(self, sequence_id: str) -> None:
        if self._sequences.pop(sequence_id, None) is not None:
            self.aborted.append(sequence_id)

    @property
    def has_work(self) -> bool:
        return bool(self._sequences)

    def stats(self) -> EngineStats:
        used = len(self._sequences)
        return EngineStats(used, 0, used, 64, 0, PrefixStats(0, 0, 0, 8, 0))

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def _faults(self, text: str) -> frozenset[str]:
        return frozenset(name for name in FAULTS if self.faulty and name in text)

    @staticmethod
    def _next(sequence: _Sequence) -> tuple[int, str, str | None]:
        """Make the next token: id, text that may be shown, finish reason."""
        params, position = sequence.params, sequence.made
        token_id = fake_token(sequence.key, position)
        text = (sequence.tags if position == 0 else "") + f" w{token_id}"
        sequence.made += 1
        found = next((stop for stop in params.stop if stop in sequence.text + text), None)
        if found is not None:
            return token_id, (sequence.text + text).partition(found)[0][len(sequence.text) :], "stop"
        sequence.text += text
        if sequence.made >= params.max_tokens:
            return token_id, text, "length"
        ends = sequence.made >= ANSWER_TOKENS and not params.ignore_eos
        return token_id, text, "stop" if ends else None


@dataclass
class FakeRecogniser:
    """The worker's `Recogniser` without a model: of each 30 s a segment that names what it was made of, nothing where
    the window is quiet. `delay` in seconds. `heard` counts windows. silent: nobody speaks. broken: windows raise."""

    delay: float = 0.0
    info: SpeechInfo = FAKE_SPEECH
    heard: int = 0
    silent: bool = False
    broken: bool = False

    def hear(self, samples: np.ndarray, state: SpeechState, options: SpeechOptions) -> HeardWindow:
        time.sleep(self.delay)
        self.heard += 1
        window = samples[state.frame * 160 : (state.frame + 3000) * 160]
        end, language = state.frame + -(-len(window) // 160), options.language or state.language or "en"
        if "FAULT-HEAR" in options.prompt or self.broken:
            raise RuntimeError("a window failed")
        if not np.abs(window).max(initial=0):
            return HeardWindow((), end, language)
        text = f" {options.task} {language} {state.frame} after {len(state.context)}."
        times = state.frame / 100, end / 100
        words = (SpokenWord(options.task, times[0], times[0] + 0.5),) if options.words else ()
        segment = SpokenSegment(
            *times, text, (state.frame, 7), options.temperature, -0.25, 1.0, 0.9 if self.silent else 0.01, words
        )
        return HeardWindow((segment,), end, language)


def fake_embedding(modality: Modality, array: np.ndarray) -> np.ndarray:
    """[1, DIM] float32, a function of the array's bytes."""
    digest = hashlib.sha256(modality.encode() + np.ascontiguousarray(array).tobytes()).digest()
    return np.frombuffer(digest, "<i4").astype(np.float32)[None] / 2**31


def fake_token(key: str, position: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}/{position}".encode()).digest()[:4], "little") % VOCABULARY


def prompt_tokens(conversation: Conversation) -> int:
    """One token a word and one a medium."""
    return sum(len(turn.text.split()) for turn in conversation.turns) + len(conversation.media)


def expected_text(
    conversation: Conversation, params: SamplingParams, embeddings: Sequence[np.ndarray] = (), choice: int = 0
) -> str:
    """The whole text that a worker with a FakeRuntime answers."""
    seeded = replace(params, seed=seed_of(params.seed, choice))
    runtime = FakeRuntime(faulty=False)
    runtime.admit(SequenceRequest("x/0", conversation, embeddings, seeded))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    return text


def _key(conversation: Conversation, embeddings: Sequence[np.ndarray], params: SamplingParams) -> str:
    said = repr([(turn.role, turn.text) for turn in conversation.turns])
    media = [(use.modality, use.turn, use.weight, e.tobytes().hex()) for use, e in _pairs(conversation, embeddings)]
    options = sorted(conversation.options.items()) or ""
    return hashlib.sha256(f"{said}{media}{params.seed}{params.temperature}{options}".encode()).hexdigest()


def _tags(conversation: Conversation, embeddings: Sequence[np.ndarray]) -> str:
    mark = "!" if conversation.options.get("shout") else ""
    return mark + "".join(f"<{use.modality}:{e.tobytes().hex()[:8]}>" for use, e in _pairs(conversation, embeddings))


def _pairs(conversation: Conversation, embeddings: Sequence[np.ndarray]) -> list:
    return list(zip(conversation.media, embeddings, strict=True))


def _logprob(sequence: _Sequence, token_id: int, text: str) -> TokenLogprob:
    others = [(fake_token(sequence.key, -1 - rank), f" o{rank}".encode(), -2.0 - rank) for rank in range(5)]
    top = [(token_id, text.encode(), math.log(0.5)), *others][: sequence.params.logprobs or 0]
    return TokenLogprob(token_id, text.encode(), math.log(0.5), tuple(top))


# Workers


def fake_worker_settings(**changed: object) -> WorkerSettings:
    """A worker's settings with short beats."""
    return WorkerSettings(**{"heartbeat_s": 0.2, "lost_after_s": 3.0, "drain_grace_s": 5.0, **changed})


@dataclass
class WorkerThread:
    worker: Worker
    runtime: FakeRuntime
    metrics: WorkerMetrics
    registry: CollectorRegistry
    thread: threading.Thread
    errors: list[BaseException]

    def drain(self, grace: float | None = None) -> None:
        self.worker.drain(grace)

    def join(self) -> None:
        self.thread.join(10)
        assert not self.thread.is_alive(), "the worker did not end"


@contextlib.contextmanager
def worker_thread(
    store: StoreSettings,
    runtime: FakeRuntime | None = None,
    tracer: Tracer | None = None,
    recogniser: FakeRecogniser | None = None,
    stall_s: float = STALL_S,
    malloc_trim: MallocTrim | None = None,
    **settings: object,
) -> Iterator[WorkerThread]:
    """A worker in a thread, announced when the block begins and gone when it ends. `settings` of WorkerSettings."""
    runtime, registry = runtime or FakeRuntime(), CollectorRegistry()
    metrics, announced, errors = WorkerMetrics.on(registry), threading.Event(), []
    made = fake_worker_settings(**settings)
    with assembled(runtime, store, made, metrics, tracer, recogniser, stall_s, malloc_trim) as worker:

        def run() -> None:
            try:
                worker.run(announced.set)
            except BaseException as error:  # noqa: BLE001  handed to the test's thread
                errors.append(error)
                announced.set()

        thread = threading.Thread(target=run, name="worker", daemon=True)
        thread.start()
        assert announced.wait(10), "the worker did not start"
        handle = WorkerThread(worker, runtime, metrics, registry, thread, errors)
        try:
            yield handle
        finally:
            worker.drain(0)
            handle.join()


@contextlib.contextmanager
def worker_process(
    store: StoreSettings,
    *,
    step_delay: float = 0.005,
    encode_delay: float = 0.0,
    speech_delay: float | None = None,
    module: str = "tests.fakes",
    **settings: object,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, announced when the block begins, killed when it ends. `module`: its program.

    speech_delay: seconds of a window of its recogniser; None: it has none.
    """
    options = [f"--setting={name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", module, f"--store={store.url}", f"--namespace={store.namespace}"]
    command += [f"--step-delay={step_delay}", f"--encode-delay={encode_delay}", *options]
    command += [] if speech_delay is None else [f"--speech-delay={speech_delay}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the worker did not start"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()


def main(make: Callable[..., FakeRuntime] = FakeRuntime) -> None:
    """A worker with a FakeRuntime until SIGTERM; writes `ready` once it is announced."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--namespace", default="pandagpt")
    parser.add_argument("--step-delay", type=float, default=0.0)
    parser.add_argument("--encode-delay", type=float, default=0.0)
    parser.add_argument("--speech-delay", type=float)
    parser.add_argument("--setting", action="append", default=[], help="name=value of the worker's settings")
    arguments = parser.parse_args()
    logs.configure("warning", "text", "worker")
    store = StoreSettings(url=arguments.store, namespace=arguments.namespace)
    settings = fake_worker_settings(**dict(setting.split("=", 1) for setting in arguments.setting))
    runtime = make(step_delay=arguments.step_delay, encode_delay=arguments.encode_delay)
    recogniser = None if arguments.speech_delay is None else FakeRecogniser(arguments.speech_delay)
    metrics = WorkerMetrics.on(CollectorRegistry())
    with assembled(runtime, store, settings, metrics, recogniser=recogniser) as worker:
        signal.signal(signal.SIGTERM, lambda *_: worker.drain())
        worker.run(lambda: print("ready", flush=True))  # noqa: T201  the parent waits for it


if __name__ == "__main__":
    main()
