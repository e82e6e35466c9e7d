"""Parameters that would change the answer and that are not offered: a 400 by name, unless the operator is lenient."""

import json
from collections.abc import Mapping
from typing import Any

from service.gateway.errors import GatewayError
from service.gateway.schema.sampling import Sampling

# Fields of OpenAI, vLLM and llama.cpp, with the values that change nothing, which their clients send for "off".
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "use_beam_search": (False,),
    "length_penalty": (1, 1.0),
    "prompt_logprobs": (0,),
    "echo": (False,),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "allowed_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "truncate_prompt_tokens": (),
    "chat_template": ("",),
    "documents": ([],),
    "repeat_penalty": (1, 1.0),
    "typical_p": (1, 1.0),
    "typ_p": (1, 1.0),
    "mirostat": (0,),
    "dynatemp_range": (0, 0.0),
    "xtc_probability": (0, 0.0),
    "dry_multiplier": (0, 0.0),
    "grammar": ("",),
    "json_schema": ({},),
}


def unread(body: Sampling, *, lenient: bool) -> tuple[str, ...]:
    """The names of what was sent and nothing reads. Raises `invalid_request` for a parameter that would change the
    answer and is not offered, unless `lenient`."""
    extra = body.model_extra or {}
    wants_best_of = body.best_of is not None and body.best_of != (body.n or 1)
    if not lenient:
        for name, value in extra.items():
            if name in UNSUPPORTED and changes(value, UNSUPPORTED[name]):
                raise GatewayError("invalid_request", f"{name} is not supported.", param=name)
        if wants_best_of:
            words = f"best_of is {body.best_of}, which is not offered: it may be n, {body.n or 1}."
            raise GatewayError("invalid_request", words, param="best_of")
    return (*extra, *(("best_of",) if wants_best_of else ()))


def changes(value: object, harmless: tuple[Any, ...]) -> bool:
    """Whether a value is none of the harmless ones. A form's values are text: `false` is False there."""
    return value is not None and value not in harmless and _from_text(value) not in (None, *harmless)


def _from_text(value: object) -> object:
    try:
        return json.loads(value.lower()) if isinstance(value, str) and len(value) <= 32 else value
    except ValueError:
        return value
