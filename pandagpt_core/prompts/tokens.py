"""Segments as token ids, with slots for soft tokens; a caller's text is spelt so that it opens no turn."""

import re
from collections.abc import Sequence

from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts.segments import segments
from pandagpt_core.prompts.template import Control, MediaSlot, Slot, Span, Template
from pandagpt_core.types import Conversation


def prompt_ids(
    template: Template, tokenizer: Tokenizer, conversation: Conversation, bos_id: int | None = None
) -> list[int | MediaSlot]:
    """The prompt as token ids and slots. `bos_id` overrules the tokenizer's own."""
    ids: list[int | MediaSlot] = []
    for segment in segments(template, conversation):
        if isinstance(segment, tuple):
            ids += _tokenise(tokenizer, segment, template.markers)
        elif isinstance(segment, Control):
            ids.append(control_id(tokenizer, segment.piece))
        elif isinstance(segment, MediaSlot):
            ids.append(segment)
        else:
            assert segment is Slot.BOS
            ids.append(_named("beginning", tokenizer.bos_id if bos_id is None else bos_id))
    return ids


def token_ids(
    template: Template, tokenizer: Tokenizer, conversation: Conversation, bos_id: int | None = None
) -> list[int | None]:
    """As `prompt_ids`, with None for each slot."""
    ids = prompt_ids(template, tokenizer, conversation, bos_id)
    return [None if isinstance(token, MediaSlot) else token for token in ids]


def control_id(tokenizer: Tokenizer, piece: str) -> int:
    """The id of a piece that a template names; CheckpointError where the tokenizer has none."""
    return _named(piece, tokenizer.token_id(piece))


def _named(what: str, token_id: int | None) -> int:
    if token_id is None:
        raise CheckpointError(f"the template needs the token {what!r}, which the tokenizer does not have")
    return token_id


def _tokenise(tokenizer: Tokenizer, spans: Sequence[Span], markers: re.Pattern[str] | None) -> list[int]:
    """Spans as one piece of text, but for the markers in callers' spans, which it tokenises one character at a time."""
    chunks = [""]  # even: ordinary text; odd: a marker written by a caller
    for span in spans:
        plain, *broken = _split(span, markers)
        chunks[-1] += plain
        chunks += broken
    ids = tokenizer.encode(chunks[0])
    if len(chunks) > 1:
        spaced = _puts_space(tokenizer)
        for index, chunk in enumerate(chunks[1:], start=1):
            ids += _spelt(tokenizer, chunk, spaced) if index % 2 else _continued(tokenizer, chunk, spaced)
    return ids


def _split(span: Span, markers: re.Pattern[str] | None) -> list[str]:
    """Text, marker, text, ... with text first and last."""
    if markers is None or not span.caller:
        return [span.text]
    pieces, at = [], 0
    for match in markers.finditer(span.text):
        pieces += [span.text[at : match.start()], match.group()]
        at = match.end()
    return [*pieces, span.text[at:]]


def _spelt(tokenizer: Tokenizer, marker: str, spaced: bool) -> list[int]:
    """Token ids of text, one character at a time."""
    by_character = {character: _continued(tokenizer, character, spaced) for character in set(marker)}
    return [token for character in marker for token in by_character[character]]


def _continued(tokenizer: Tokenizer, text: str, spaced: bool) -> list[int]:
    """Token ids of text that follows other text: without the space that sentencepiece puts before a piece.

    Sentencepiece never joins a newline with what follows it (it is a byte token), so a newline carries the space off.
    """
    if not text or not spaced:
        return tokenizer.encode(text)
    lead = tokenizer.encode("\n")
    ids = tokenizer.encode("\n" + text)
    if ids[: len(lead)] != lead:
        raise CheckpointError("this tokenizer joins newlines with other text; the template needs one that does not")
    return ids[len(lead) :]


def _puts_space(tokenizer: Tokenizer) -> bool:
    """Whether a text's first piece has a space that the text has not. Byte-level tokenizers put none."""
    return any(tokenizer.token_bytes(token).startswith(b" ") for token in tokenizer.encode("x")[:1])
