"""A body of /v1/completions as a valid request: prompts without a conversation."""

from dataclasses import replace

from service.gateway.errors import GatewayError
from service.gateway.inference.parsing.conversation import check_totals
from service.gateway.inference.parsing.structured import grammar_of
from service.gateway.inference.validated import GenerateRequest, RequestLimits, generate_request
from service.gateway.schema.completions import MAX_PROMPTS, CompletionBody
from service.gateway.schema.sampling import StreamOptions
from service.gateway.schema.unsupported import unread

DEFAULT_TOKENS = 16  # OpenAI's and vLLM's
# Fields that a system reads from a conversation alone.
_OF_CONVERSATIONS = ("options", "task", "boxes", "boxes_unit", "annotate")


async def from_completion(body: CompletionBody, limits: RequestLimits) -> GenerateRequest:
    """Raises `invalid_request`."""
    ignored = unread(body, lenient=limits.lenient)
    for name in _OF_CONVERSATIONS:
        if getattr(body, name) is not None:
            raise GatewayError("invalid_request", f"{name} needs messages; a prompt has no turns.", param=name)
    if body.wants_usage and not body.stream:
        raise GatewayError("invalid_request", "stream_options needs stream to be true.", param="stream_options")
    check_totals(sum(map(len, body.prompt)), 0, limits, "prompt")
    grammar = await grammar_of(body)
    options = body.stream_options or StreamOptions()
    wanted = generate_request(body, (), (), limits, model=body.model, stream_options=options, grammar=grammar)
    if (choices := wanted.n * len(body.prompt)) > MAX_PROMPTS:
        words = f"{len(body.prompt)} prompts with n {wanted.n} are {choices} answers; the limit is {MAX_PROMPTS}."
        raise GatewayError("invalid_request", words, param="n")
    tokens = DEFAULT_TOKENS if wanted.sampling.max_tokens is None else wanted.sampling.max_tokens
    return replace(
        wanted,
        sampling=replace(wanted.sampling, logprobs=body.logprobs, max_tokens=tokens),
        prompts=tuple(prompt if isinstance(prompt, str) else tuple(prompt) for prompt in body.prompt),
        echo=bool(body.echo),
        ignored=ignored,
    )
