"""A form with a sound as a valid request for its words, and the model that writes them down."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import pydantic

from pandagpt_core.speech.base import SpeechOptions, Task
from pandagpt_core.speech.languages import code_of
from pandagpt_core.types import Modality, ModelInfo
from service.gateway.errors import GatewayError, invalid_request
from service.gateway.inference.validated import RequestLimits, TranscribeRequest
from service.gateway.media.medium import MediaInput, read_upload
from service.gateway.media.multipart import Form, takes_no_file
from service.gateway.media.sources import MediaSources
from service.gateway.schema.audio import Granularity, TranscriptionForm, TranslationForm
from service.gateway.schema.unsupported import changes

GRANULARITIES = "timestamp_granularities[]"
_ALLOWED: tuple[Granularity, ...] = ("segment", "word")
_STREAMED = ("json", "text")
# Of OpenAI's, with the values that change nothing.
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {"include": (), "known_speaker_names": (), "known_speaker_references": ()}
)
_FormModel = TypeVar("_FormModel", bound=TranslationForm)


async def transcription(form: Form, sources: MediaSources, limits: RequestLimits) -> TranscribeRequest:
    """Raises `invalid_request`, `too_large`."""
    fields = _fields(form, TranscriptionForm, limits)
    language = code_of(fields.language or "")
    if fields.language and not language:
        raise GatewayError("invalid_request", "language is no known code (en) or name.", param="language")
    form_of_answer = fields.response_format or "json"
    if fields.stream and form_of_answer not in _STREAMED:
        words = f"stream goes with response_format {' or '.join(_STREAMED)}, not {form_of_answer}."
        raise GatewayError("invalid_request", words, param="stream")
    return await _request(form, fields, sources, "transcribe", language, bool(fields.stream))


async def translation(form: Form, sources: MediaSources, limits: RequestLimits) -> TranscribeRequest:
    """As `transcription`; the words come in English."""
    return await _request(form, _fields(form, TranslationForm, limits), sources, "translate", "", False)


async def _request(
    form: Form, fields: TranslationForm, sources: MediaSources, task: Task, language: str, stream: bool
) -> TranscribeRequest:
    granularities = _granularities(form, fields.response_format or "json")
    if len(form.files) != 1:
        given = "file is required." if not form.files else f"file is given {len(form.files)} times."
        raise GatewayError("invalid_request", given, param="file")
    content = await read_upload(form.files[0], "file", sources)
    return TranscribeRequest(
        media=(MediaInput(Modality.AUDIO, content.data, content.sha256, 0, "file"),),
        speech=SpeechOptions(
            task=task,
            language=language,
            prompt=fields.prompt or "",
            temperature=fields.temperature or 0.0,
            words="word" in granularities,
        ),
        answer=fields.response_format or "json",
        granularities=granularities,
        model=fields.model or None,
        stream=stream,
        priority=fields.priority or "interactive",
        ignored=tuple(fields.model_extra or ()),
    )


def _fields(form: Form, kind: type[_FormModel], limits: RequestLimits) -> _FormModel:
    values: dict[str, Any] = {}
    for name, given in form.fields.items():
        if name in (GRANULARITIES, "timestamp_granularities"):
            continue
        if len(given) > 1:
            raise GatewayError("invalid_request", f"{name} is given {len(given)} times.", param=name)
        values[name] = given[0]
    try:
        fields = kind.model_validate_strings(values)
    except pydantic.ValidationError as error:
        raise invalid_request(error.errors(include_url=False, include_input=False)) from None
    if misnamed := next((name for name in fields.model_extra or () if name in form.from_files), None):
        raise takes_no_file(misnamed, ("file",))
    for name, value in (fields.model_extra or {}).items():
        if name in _UNSUPPORTED and changes(value, _UNSUPPORTED[name]) and not limits.lenient:
            raise GatewayError("invalid_request", f"{name} is not supported.", param=name)
    return fields


def _granularities(form: Form, form_of_answer: str) -> tuple[Granularity, ...]:
    given = {*form.fields.get(GRANULARITIES, ()), *form.fields.get("timestamp_granularities", ())}
    if not given:
        return ("segment",)
    if not given <= set(_ALLOWED):
        raise GatewayError("invalid_request", f"{GRANULARITIES} may be segment and word.", param=GRANULARITIES)
    if form_of_answer != "verbose_json":
        words = f"{GRANULARITIES} goes with response_format verbose_json, not {form_of_answer}."
        raise GatewayError("invalid_request", words, param=GRANULARITIES)
    return tuple(one for one in _ALLOWED if one in given)


# Names that clients send who know OpenAI's models only.
ANY_MODEL = ("whisper", "whisper-1", "whisper-base", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
_NOBODY = (
    "{path} is not offered: no model here writes down speech. A worker does with the setting worker.speech; a chat "
    "takes sound."
)


def names_one(model: str | None) -> bool:
    """Whether it is one model's name, and no stand-in for any that writes down speech."""
    return bool(model) and _plain(model) not in ANY_MODEL


def _plain(name: str | None) -> str:
    """Without a provider's name, as LiteLLM puts it first."""
    return (name or "").removeprefix("openai/").removeprefix("hosted_vllm/")


def speech_model(models: Mapping[str, ModelInfo], name: str | None, default: str | None, path: str) -> ModelInfo:
    """The model that writes down speech. Raises `not_found` where none does, `model_not_found`."""
    able = {id_: info for id_, info in models.items() if info.speech is not None}
    if not able:
        raise GatewayError("not_found", _NOBODY.format(path=path))
    wanted = _plain(name)
    if wanted in able:
        return able[wanted]
    if wanted in models:
        others = ", ".join(able)
        raise GatewayError("not_found", f"{wanted} writes down no speech; {others} does.", param="model")
    if wanted and wanted not in ANY_MODEL:
        raise GatewayError("model_not_found", "There is no such model.", param="model")
    return able.get(default or "") or next(iter(able.values()))


def check_language(wanted: TranscribeRequest, info: ModelInfo) -> None:
    """Raises `invalid_request` for a language that the recogniser does not know."""
    assert info.speech is not None, "the model writes down speech"
    language = wanted.speech.language
    if language and language not in info.speech.languages:
        raise GatewayError("invalid_request", f"{info.id} knows no {language}.", param="language")
