"""A request for token ids or for their text: answered at once, beside the engine."""

import logging

from pandagpt_core.errors import PandaGPTError
from pandagpt_core.interface import ServedModel
from pandagpt_core.types import Conversation, Turn
from service.broker.protocol import Done, Failed, Tokenize, Tokenized
from service.worker.jobs import Job

log = logging.getLogger(__name__)


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
