"""Requests that are answered at once, beside the engine: for vectors, for token ids, for the text of such."""

import logging

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.interface import ServedModel
from pandagpt_core.types import Conversation, Turn
from service.broker.protocol import Done, Embed, Failed, Tokenize, Tokenized, Vectors
from service.worker.encoding.encoder_executor import failure_of
from service.worker.jobs import Job

log = logging.getLogger(__name__)


def embed_media(runtime: ServedModel, job: Job, request: Embed) -> None:
    """Answer with the unit vector of each medium, and end the job."""
    if not request.media:
        job.end(Failed(code="invalid_request", message="nothing to embed", param="input"))
        return
    try:
        units = [runtime.unit(part.modality, job.embeddings[part.blob]) for part in request.media]
    except Exception as error:  # noqa: BLE001  whatever a model raises for one request must not end the worker
        job.end(failure_of(error))
        return
    job.delivery.writer.add(Vectors(dim=units[0].size, data=[unit.astype("<f4").tobytes() for unit in units]))
    job.end(Done())


def tokenize(runtime: ServedModel, job: Job, request: Tokenize) -> None:
    """Answer and end the job."""
    try:
        job.delivery.writer.add(_answer(runtime, request))
    except PandaGPTError as error:
        job.end(Failed(code=error.code, message=error.message, param=error.param))
    except Exception:
        log.exception("a text could not be tokenised", extra={"request_id": job.id})
        job.end(Failed(code="internal_error", message="the model could not take the request"))
    else:
        job.end(Done())


def _answer(runtime: ServedModel, request: Tokenize) -> Tokenized:
    if request.ids is not None:
        return Tokenized(text=runtime.detokenize(request.ids))
    if request.text is not None:
        ids = runtime.tokenize(request.text, request.special)
    else:
        turns = tuple(Turn(turn.role, turn.text) for turn in request.turns)
        ids = runtime.tokenize(Conversation(turns))
    return Tokenized(ids=ids, pieces=[token.piece for some in runtime.prompt_tokens(ids, None) for token in some])
