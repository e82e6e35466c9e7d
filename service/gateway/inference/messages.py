"""A validated request and its media as the message to a worker, and the metadata by which gateways fold the answer."""

from dataclasses import dataclass
from typing import Any

from msgspec import structs

from pandagpt_core.speech.base import RATE
from pandagpt_core.types import ModelInfo
from service.broker.protocol import Embed, Generate, Transcribe, TurnPart
from service.gateway.inference.grounding import Grounding
from service.gateway.inference.validated import GenerateRequest, TranscribeRequest
from service.gateway.media.resolve import ResolvedMedia
from service.gateway.streaming.chunks import ResponseMetadata, ViewedSpans, count_items, fingerprint_of
from service.gateway.streaming.transcripts import KIND as TRANSCRIPT


@dataclass(frozen=True, slots=True)
class MessageHead:
    """Common head of the messages of all kinds. `resumable`: the caller gave a key by which it may come back.

    `fields` are those of the message, by their names.
    """

    info: ModelInfo
    fields: dict[str, Any]
    resumable: bool


def embed_message(head: MessageHead, media: ResolvedMedia) -> Embed:
    return Embed(**head.fields, media=media.refs)


def text_message(
    head: MessageHead, wanted: GenerateRequest, media: ResolvedMedia, places: Grounding, default_tokens: int
) -> tuple[Generate, ResponseMetadata]:
    """`default_tokens`: of an answer, where nobody gives a number."""
    info, response = head.info, wanted.response
    warnings = [*wanted.tool_plan.warnings, *media.warnings]
    # A model of tasks learned prompts that begin with their identifier; the sentences are its answer's warnings.
    sentences = {} if places.named else media.sentences
    opened = [sentences.get(at, "") + turn.text for at, turn in enumerate(wanted.turns)]
    turns = [
        TurnPart(role=turn.role, text=text, tool_calls=list(turn.tool_calls))
        for turn, text in zip(wanted.turns, opened, strict=True)
    ]
    message = Generate(
        **head.fields,
        media=media.refs,
        speech=list(media.speech),
        turns=turns,
        params=wanted.sampling.over(info, default_tokens),
        n=wanted.n,
        options=dict(places.options),
        prompts=[prompt if isinstance(prompt, str) else list(prompt) for prompt in wanted.prompts],
        echo=wanted.echo,
        tools=list(wanted.tool_plan.definitions),
        continue_final=wanted.continue_final,
        explain=wanted.explain,
    )
    metadata = ResponseMetadata(
        id=message.id,
        model=info.id,
        created=int(message.created),
        kind=wanted.answer_kind,
        shape={} if response is None else response.shape,
        n=wanted.choices,
        prompts=len(wanted.prompts),
        logprobs=wanted.sampling.logprobs is not None,
        include_usage=wanted.include_usage,
        continuous_usage=wanted.continuous_usage,
        event_ids=wanted.event_ids or head.resumable,
        calls=wanted.call_style,
        items=count_items([medium.modality for medium in wanted.media]),
        fingerprint=fingerprint_of(info),
        places=places.named,
        sides=places.sides,
        annotated=places.kept is not None,
        warnings=warnings,
        spans=[
            ViewedSpans(medium.modality.value, list(notes.spans))
            for medium, notes in zip(wanted.media, media.notes, strict=True)
            if notes.spans
        ],
    )
    return message, metadata


def sound_message(
    head: MessageHead, wanted: TranscribeRequest, media: ResolvedMedia
) -> tuple[Transcribe, ResponseMetadata]:
    (sound,), (samples,) = media.refs, media.arrays.values()
    message = Transcribe(**head.fields, sound=sound, options=wanted.speech)
    metadata = ResponseMetadata(
        id=message.id,
        model=head.info.id,
        created=int(message.created),
        kind=TRANSCRIPT,
        transcript=structs.replace(wanted.shape, seconds=round(samples.size / RATE, 3)),
        event_ids=head.resumable,
        warnings=media.warnings,
    )
    return message, metadata
