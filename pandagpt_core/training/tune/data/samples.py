"""Conversations about media as the instruction data sets write them: PandaGPT's own file, LLaVA's, and beyond pictures.

PandaGPT (pandagpt4_visual_instruction_data.json): {"image_name": "a.jpg", "conversation": [{"from": "human",
"value": ...}, {"from": "gpt", ...}, ...]}. LLaVA calls these `image` and `conversations`, and marks the picture by
"<image>" in the first question. Ours adds "media": [{"modality": "audio", "file": "a.wav", "params": {}}]; several
media of one conversation are summed, as in service. A conversation without media is learned as one.

A pair of a medium of any modality and its captions is a conversation for each caption: {"audio": "a.wav", "caption":
"A dog barks."}, or {"media": [...], "caption": ["...", "..."]}; its question is one of `QUESTIONS`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import msgspec

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.conversations import ChatTurn
from pandagpt_core.types import Modality

# Questions for a caption, by its first medium; the entries of a file take turns.
QUESTIONS: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        Modality.IMAGE: ("Describe this picture.", "What does the picture show?", "What do you see?"),
        Modality.VIDEO: ("Describe this video.", "What happens in the video?", "What do you see in the film?"),
        Modality.AUDIO: ("Describe this sound.", "What do you hear?", "What can be heard in the recording?"),
        Modality.DEPTH: ("Describe what this depth map shows.", "What is in the depth map?"),
        Modality.THERMAL: ("Describe this thermal picture.", "What does the thermal picture show?"),
        Modality.IMU: ("Describe this movement.", "What is the person with these sensors doing?"),
        Modality.POINTS: ("Describe this 3D object.", "What is this point cloud of?"),
        Modality.TEXT: ("Say what this is about.", "What is meant?"),
    }
)
# Keys of an entry that name a file of that modality; `image` and `text` have other uses in published sets.
_NAMING = tuple(modality for modality in Modality if modality not in (Modality.IMAGE, Modality.TEXT))
MOST_LISTED = 20  # problems that one message lists
_MARK = "<image>"


@dataclass(frozen=True, slots=True)
class Medium:
    """A file, its modality, and the recipe's parameters as (name, value) pairs."""

    modality: Modality
    file: str
    params: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatSample:
    """One conversation: `where` names its file and index, human and gpt take turns. `file`: the number of its file."""

    where: str
    turns: tuple[ChatTurn, ...]
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
    caption: str | tuple[str, ...] = ()
    params: dict[str, float | str] = {}


def read_samples(files: Sequence[Path]) -> list[ChatSample]:
    """All conversations of all files. Raises InvalidRequest that names file, index and fault of each bad one."""
    samples: list[ChatSample] = []
    problems: list[str] = []
    for number, file in enumerate(files):
        for index, entry in enumerate(_entries(file)):
            try:
                samples += [replace(one, file=number) for one in _samples(file.name, index, entry)]
            except (msgspec.ValidationError, ValueError) as error:
                problems.append(f"{file.name}[{index}]: {error}")
    refuse(problems, "conversations are wrong")
    if not samples:
        raise InvalidRequest(f"there is no conversation in {', '.join(file.name for file in files)}")
    return samples


def refuse(problems: Sequence[str], what: str) -> None:
    """Raise InvalidRequest with the first of the problems and their number, if there are any."""
    if problems:
        listed = [f"  {problem}" for problem in problems[:MOST_LISTED]]
        rest = [f"  ... and {len(problems) - MOST_LISTED} more"] if len(problems) > MOST_LISTED else []
        raise InvalidRequest("\n".join([f"{len(problems)} {what}:", *listed, *rest]))


def _entries(file: Path) -> list[Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Any])
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file.name} is no JSON list of conversations: {error}") from None


def _samples(file: str, index: int, raw: Any) -> list[ChatSample]:
    """One of a conversation, as many as there are captions of a pair."""
    entry = msgspec.convert(raw, _Entry)
    media = _media(entry, raw)
    conversation = entry.conversation or entry.conversations
    captions = (entry.caption,) if isinstance(entry.caption, str) else entry.caption
    if not captions:
        return [ChatSample(f"{file}[{index}]", tuple(_turns(conversation)), media)]
    if conversation or not media or not all(caption.strip() for caption in captions):
        raise ValueError("a pair has a medium, captions that are not empty, and no conversation")
    questions = QUESTIONS[media[0].modality]
    return [
        ChatSample(
            f"{file}[{index}]" + (f".caption[{at}]" if len(captions) > 1 else ""),
            (ChatTurn("human", questions[(index + at) % len(questions)]), ChatTurn("gpt", caption.strip())),
            media,
        )
        for at, caption in enumerate(captions)
    ]


def _media(entry: _Entry, raw: Mapping[str, Any]) -> tuple[Medium, ...]:
    """`params` are those of the one medium that a key of the entry names."""
    names = [name for name in (entry.image_name, entry.image) if name]
    media = [Medium(Modality.IMAGE, _inside(name)) for name in names[:1]]
    params = tuple(sorted(entry.params.items()))
    named = [(one, raw[one]) for one in _NAMING if isinstance(raw.get(one), str)]
    media += [Medium(modality, _inside(file), params) for modality, file in named]
    media += [Medium(one.modality, _inside(one.file), tuple(sorted(one.params.items()))) for one in entry.media]
    return tuple(media)


def _turns(turns: Sequence[ChatTurn]) -> Iterator[ChatTurn]:
    if not turns:
        raise ValueError("it has no turns, neither `conversation` nor `conversations`")
    if len(turns) % 2:
        raise ValueError(f"it has {len(turns)} turns; every question needs its answer")
    for index, turn in enumerate(turns):
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
