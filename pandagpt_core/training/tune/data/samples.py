"""Conversations about media as the instruction data sets write them: PandaGPT's own file, LLaVA's, and beyond pictures.

PandaGPT (pandagpt4_visual_instruction_data.json): {"image_name": "a.jpg", "conversation": [{"from": "human",
"value": ...}, {"from": "gpt", ...}, ...]}. LLaVA calls these `image` and `conversations`, and marks the picture by
"<image>" in the first question. Ours adds "media": [{"modality": "audio", "file": "a.wav", "params": {}}]; several
media of one conversation are summed, as in service. A conversation without media is learned as one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.conversations import ChatTurn
from pandagpt_core.types import Modality

MOST_TOLD = 20  # problems that one message lists
_MARK = "<image>"


@dataclass(frozen=True, slots=True)
class Medium:
    """A file, what it is, and the recipe's parameters as (name, value) pairs."""

    modality: Modality
    file: str
    params: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatSample:
    """One conversation: `where` names its file and index, human and gpt take turns. `file`: the number of its file."""

    where: str
    said: tuple[ChatTurn, ...]
    media: tuple[Medium, ...]
    file: int = 0


class _Medium(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    modality: Modality
    file: str
    params: dict[str, float | str] = {}


class _Entry(msgspec.Struct, frozen=True):
    """Either way of writing; other fields (ids, sources) are not ours and are passed over."""

    conversation: tuple[ChatTurn, ...] = ()
    conversations: tuple[ChatTurn, ...] = ()
    image_name: str | None = None
    image: str | None = None
    media: tuple[_Medium, ...] = ()


def read_samples(files: Sequence[Path]) -> list[ChatSample]:
    """All conversations of all files. Raises InvalidRequest that names file, index and fault of each bad one."""
    samples: list[ChatSample] = []
    problems: list[str] = []
    for number, file in enumerate(files):
        for index, entry in enumerate(_entries(file)):
            try:
                sample = _sample(f"{file.name}[{index}]", msgspec.convert(entry, _Entry))
                samples.append(replace(sample, file=number))
            except (msgspec.ValidationError, ValueError) as error:
                problems.append(f"{file.name}[{index}]: {error}")
    refuse(problems, "conversations are wrong")
    if not samples:
        raise InvalidRequest(f"there is no conversation in {', '.join(file.name for file in files)}")
    return samples


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise InvalidRequest with the first of the problems and their number, if there are any."""
    if problems:
        told = [f"  {problem}" for problem in problems[:MOST_TOLD]]
        rest = [f"  ... and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise InvalidRequest("\n".join([f"{len(problems)} {what}:", *told, *rest]))


def _entries(file: Path) -> list[Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Any])
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file.name} is no JSON list of conversations: {error}") from None


def _sample(where: str, entry: _Entry) -> ChatSample:
    said = tuple(_turns(entry.conversation or entry.conversations))
    names = [name for name in (entry.image_name, entry.image) if name]
    media = [Medium(Modality.IMAGE, _inside(name)) for name in names[:1]]
    media += [Medium(one.modality, _inside(one.file), tuple(sorted(one.params.items()))) for one in entry.media]
    return ChatSample(where, said, tuple(media))


def _turns(said: Sequence[ChatTurn]) -> Iterator[ChatTurn]:
    if not said:
        raise ValueError("it has no turns, neither `conversation` nor `conversations`")
    if len(said) % 2:
        raise ValueError(f"it has {len(said)} turns; every question needs its answer")
    for index, turn in enumerate(said):
        if turn.who != ("gpt" if index % 2 else "human"):
            raise ValueError(f"turn {index} is by {turn.who}; human and gpt take turns, human first")
        yield turn if index % 2 else ChatTurn(turn.who, _without_mark(turn.value))


def _without_mark(text: str) -> str:
    """The picture stands where the template puts it, not where a data set marks it."""
    return text.replace(f"{_MARK}\n", "").replace(f"\n{_MARK}", "").replace(_MARK, "")


def _inside(name: str) -> str:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"{name} is not below the media folder")
    return name
