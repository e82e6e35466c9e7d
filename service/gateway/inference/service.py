"""Requests of this gateway: which model answers, submit or join."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from msgspec import structs

from pandagpt_core.types import ModelInfo
from service.broker.errors import DuplicateRequest, NoWorker, UnknownRequest, WorkersSilent
from service.broker.gateway.client import Broker
from service.broker.gateway.patience import AWAY, begun_anew
from service.broker.gateway.readers import RequestReaders
from service.broker.gateway.request_record import RequestRecord
from service.broker.keys import new_request_id
from service.broker.protocol import Request
from service.gateway.access.auth import Caller
from service.gateway.background import BackgroundTasks
from service.gateway.errors import GatewayError
from service.gateway.inference import grounding
from service.gateway.inference.from_zero import FromZero
from service.gateway.inference.grounding import Grounding
from service.gateway.inference.idempotency import Idempotency, IdempotentRequest
from service.gateway.inference.leaving import LeavingReaders
from service.gateway.inference.messages import MessageHead, embed_message, sound_message, text_message
from service.gateway.inference.parsing.speech import check_language, names_one, speech_model
from service.gateway.inference.responses.conversations import Conversations
from service.gateway.inference.validated import EmbedRequest, GenerateRequest, TranscribeRequest
from service.gateway.media.pictures import Pictures
from service.gateway.media.resolve import MediaResolver, ResolvedMedia
from service.gateway.streaming.chunks import ResponseMetadata, read_metadata
from service.gateway.tools.choice import ToolPolicy, plan

_T = TypeVar("_T")
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
Validated = GenerateRequest | EmbedRequest | TranscribeRequest
TextRequest = GenerateRequest | TranscribeRequest  # with an answer that may be streamed


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Times in seconds. A stream with event ids lives `disconnect_grace_s` without readers, a request with an
    `Idempotency-Key` at least `retry_grace_s`: its client may come back. `default_tokens`: of an answer, where nobody
    gives a number. `tools`: whether a model that cannot choose to call functions answers without them. A store that is
    away is waited for `store_patience_s`, and then workers that it missed."""

    request_timeout_s: float
    disconnect_grace_s: float
    retry_grace_s: float
    default_model: str | None
    default_tokens: int
    tools: ToolPolicy = "auto"
    store_patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """The request that answers. `replayed`: another call queued it. `metadata` is how to fold the events of a text."""

    record: RequestRecord
    replayed: bool
    metadata: ResponseMetadata | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RequestService:
    """`background` holds the tasks of this gateway that outlive a request, `leaving` the readers that left one."""

    broker: Broker
    readers: RequestReaders
    idempotency: Idempotency
    resolver: MediaResolver
    pictures: Pictures
    from_zero: FromZero
    conversations: Conversations
    options: ServiceOptions
    background: BackgroundTasks = field(default_factory=BackgroundTasks)
    leaving: LeavingReaders = field(init=False)

    def __post_init__(self) -> None:
        self.leaving = LeavingReaders(self.broker, self.readers, self.background)

    async def model(self, name: str | None) -> ModelInfo:
        """The live model of that name, or the default. Raises `model_not_found`, `no_worker`."""
        return await self.waiting_for_store(lambda: self._model(name))

    async def _model(self, name: str | None) -> ModelInfo:
        models, default = await self.broker.registry.models(), self.options.default_model
        silent = self.broker.registry.silent
        wanted = name
        if name and name not in models:  # clients that name a provider first, as LiteLLM does
            wanted = name.removeprefix("openai/").removeprefix("hosted_vllm/")
        wanted = wanted or default or next((id_ for id_, live in models.items() if live.ready), None)
        wanted = wanted or next(iter(models), None) or self.from_zero.only
        if wanted is not None and wanted in models:
            return models[wanted].info
        if wanted is not None and (asleep := await self.from_zero.find(wanted)) is not None:
            return asleep
        _check_present(silent, name, wanted)
        if not models or wanted == default:
            raise NoWorker("no worker serves this model now")
        raise GatewayError("model_not_found", "There is no such model.", param="model")

    async def models(self) -> Mapping[str, ModelInfo]:
        """The models of live workers, and those that scale from zero."""
        return await self.waiting_for_store(self._models)

    async def _models(self) -> Mapping[str, ModelInfo]:
        live = {name: model.info for name, model in (await self.broker.registry.models()).items()}
        return {**await self.from_zero.asleep(live), **live}

    async def answer(self, wanted: TextRequest, caller: Caller, key: str | None) -> Submitted:
        """Find the model, and submit a request for an answer that may be streamed, or join the one that its key stands
        for. Raises the errors of `model` and of `speech_model`."""
        return await self.waiting_for_store(lambda: self._answer(wanted, caller, key))

    async def _answer(self, wanted: TextRequest, caller: Caller, key: str | None) -> Submitted:
        if isinstance(wanted, TranscribeRequest):
            info = await self._speech_model(wanted)
        else:
            info = await self._model(wanted.model)
        caller.seen.model, caller.seen.priority = info.id, wanted.priority
        return await self._enter(wanted, info, caller, key)

    async def _speech_model(self, wanted: TranscribeRequest) -> ModelInfo:
        models, silent = await self._models(), self.broker.registry.silent
        if not models:
            _check_present(silent)
            raise NoWorker("no worker serves any model now")
        path = TRANSLATIONS if wanted.speech.task == "translate" else TRANSCRIPTIONS
        try:
            info = speech_model(models, wanted.model, self.options.default_model, path)
        except GatewayError:
            _check_present(silent, *((wanted.model,) if names_one(wanted.model) else ()))
            raise
        check_language(wanted, info)
        return info

    async def submit(self, wanted: Validated, info: ModelInfo, caller: Caller, key: str | None) -> Submitted:
        """Submit a request to the model, or join the one that the `Idempotency-Key` stands for."""
        return await self.waiting_for_store(lambda: self._enter(wanted, info, caller, key))

    async def find(self, request_id: str, tenant: str) -> RequestRecord:
        """Raises `request_not_found`."""
        return await self.waiting_for_store(lambda: self.broker.find(request_id, tenant))

    async def waiting_for_store(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """The work's result, begun anew where the store is away for a moment, or workers are silent as after such a
        moment. Only for work that may be begun anew."""
        try:
            return await work()
        except AWAY as error:
            # The cancel of a submit that failed comes before the next one, which has the same id where it has a key.
            return await begun_anew(error, work, self.options.store_patience_s, self.broker.departed)

    async def join(self, request_id: str, tenant: str) -> tuple[RequestRecord, ResponseMetadata]:
        """Read along with a request that exists. Raises `request_not_found`, also for one without a text to fold."""
        record = await self.find(request_id, tenant)
        metadata = read_metadata(record.response)
        return await self.leaving.come(record), metadata

    async def until_ended(self, record: RequestRecord, seconds: float = 10.0) -> None:
        """Return once the request's end stands in its events, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), aclosing(self.broker.follow(record)) as events:
                async for _ in events:
                    pass

    async def close(self) -> None:
        await self.background.close()
        await self.broker.close()

    async def _enter(self, wanted: Validated, info: ModelInfo, caller: Caller, key: str | None) -> Submitted:
        if isinstance(wanted, GenerateRequest):
            wanted = await self._planned(wanted, info)
        while True:
            if key is None:
                request = IdempotentRequest(new_request_id(wanted.id_kind, info.id), caller.tenant)
            else:
                request = await self.idempotency.begin(caller.tenant, key, wanted, info.id)
            try:
                if request.replayed:
                    with suppress(UnknownRequest):
                        return await self._joined(wanted, request)
                return await self._submit(wanted, info, caller, request)
            except DuplicateRequest:  # sent twice at once: the other one runs, or was given up and will not
                continue
            except BaseException:
                await asyncio.shield(self.idempotency.give_up(request))
                raise

    async def _planned(self, wanted: GenerateRequest, info: ModelInfo) -> GenerateRequest:
        """With options that the model takes, and its way to call functions."""
        asked = grounding.checked(info, wanted)
        if not asked.tools.tools:
            return asked
        made = await plan(asked.tools, info, asked.sampling.grammar, self.options.tools)
        return replace(asked, tool_plan=made, sampling=replace(asked.sampling, grammar=made.grammar))

    async def _joined(self, wanted: Validated, request: IdempotentRequest) -> Submitted:
        if isinstance(wanted, EmbedRequest):
            return Submitted(await self.broker.find(request.id, request.tenant), request.replayed)
        record, metadata = await self.join(request.id, request.tenant)
        if isinstance(wanted, GenerateRequest) and wanted.response is not None:
            metadata = structs.replace(metadata, shape=wanted.response.shape)
        return Submitted(record, request.replayed, metadata)

    async def _submit(
        self, wanted: Validated, info: ModelInfo, caller: Caller, request: IdempotentRequest
    ) -> Submitted:
        """Decode the media that the store lacks, then queue the request."""
        head, began = self._head(wanted, info, caller, request), time.perf_counter()
        try:
            if isinstance(wanted, TranscribeRequest):
                media = await self.resolver.samples(wanted.media[0], info, request.id, caller, wanted.priority)
            else:
                speech = isinstance(wanted, GenerateRequest)
                media = await self.resolver.resolve(wanted.media, info, caller, wanted.priority, speech)
        finally:
            caller.seen.phases.append(("decode media", began, time.perf_counter()))
        message, metadata, grace_s = await self._message(wanted, media, head)
        response, began = b"" if metadata is None else metadata.stored(), time.perf_counter()
        try:
            record = await self.broker.submit(
                message, media.arrays, response=response, grace_s=grace_s, capacity=media.capacity, weight=caller.weight
            )
        finally:
            caller.seen.phases.append(("submit", began, time.perf_counter()))
        # A model that scales from zero may have no worker yet: the request waits for one, but not for ever.
        if record.model in self.from_zero.models:
            short = replace(record, response=b"")  # held for minutes
            self.background.after(self.from_zero.wait_s, lambda: self.from_zero.end_unserved(short))
        return Submitted(record, False, metadata, media.warnings)

    def _head(self, wanted: Validated, info: ModelInfo, caller: Caller, request: IdempotentRequest) -> MessageHead:
        now = time.time()
        fields = {
            "id": request.id,
            "model": info.id,
            "tenant": request.tenant,
            "created": now,
            "deadline": now + self.options.request_timeout_s,
            "priority": wanted.priority,
            "traceparent": caller.seen.trace.traceparent,
            "share": caller.share,
            "cache_group": caller.cache_group,
        }
        return MessageHead(info, fields, resumable=request.key is not None)

    async def _message(
        self, wanted: Validated, media: ResolvedMedia, head: MessageHead
    ) -> tuple[Request, ResponseMetadata | None, float]:
        """The message to the worker, how to fold its answer, and the seconds that the request lives without readers."""
        if isinstance(wanted, EmbedRequest):
            return embed_message(head, media), None, 0.0
        retried_s = self.options.retry_grace_s if head.resumable else 0.0
        if isinstance(wanted, TranscribeRequest):
            return *sound_message(head, wanted, media), retried_s
        asked = Grounding(wanted.options)
        if wanted.names_places:
            asked = await grounding.resolve(head.info, wanted, self.pictures)
        message, metadata = text_message(head, wanted, media, asked, self.options.default_tokens)
        if asked.kept is not None:
            await self.pictures.keep(message.id, asked.kept)
        if (response := wanted.response) is not None and response.store:
            await self.conversations.keep(message.id, wanted, response.shape, response.instructions)
        stays_s = self.options.disconnect_grace_s if metadata.event_ids and wanted.stream else 0.0
        return message, metadata, max(stays_s, retried_s)


def _check_present(silent: Collection[str], *names: str | None) -> None:
    """Raises WorkersSilent where the model that is missing, by any of its names, has workers that are only silent.

    Where no name is given, any of the silent ones may be the one.
    """
    given = [name for name in names if name]
    if any(name in silent for name in given) or (silent and not given):
        raise WorkersSilent("no worker of this model gives a sign of life")
