"""Answers of a model to questions of its own.

A model that was trained on conversations writes a question where one would stand (Xu et al. 2024, "Magpie", section
2.1). So no data is needed, and the answers are what it writes when it is served.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, takewhile

from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.engine.speculation.ngram_table import LONGEST
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.systems import System
from pandagpt_core.systems.plain import conversation_ids, plain_inputs
from pandagpt_core.types import Conversation, SamplingParams, Turn

ROUND = 128  # questions before they are answered
QUESTION = SamplingParams(max_tokens=60, temperature=1.0, top_p=0.95)
ANSWER_TOKENS = 160
GREEDY, SAMPLED = (SamplingParams(max_tokens=ANSWER_TOKENS, temperature=temperature) for temperature in (0.0, 0.7))


def self_asked(system: System, engine: Engine) -> Iterator[list[int]]:
    """Answers, ever more of them, each with the `LONGEST` ids of its prompt's end before it: by the model's own
    parameters, greedy, and sampled, in turn. Raises CheckpointError for a model that writes no question."""
    opening = _opening(system)
    kinds = (_own(system), GREEDY, SAMPLED)
    for seed in count(step=2 * ROUND):
        asked = [plain_inputs(system, opening)] * ROUND
        questions = _written(system, engine, asked, [replace(QUESTION, seed=seed + at) for at in range(ROUND)])
        texts = [text for ids in questions if (text := system.tokenizer.decode(ids).strip())]
        if not texts:
            raise CheckpointError(f"{system.info.id} writes no question of its own where one would stand")
        prompts = [system.prepare(Conversation((Turn("user", text),)), []) for text in texts]
        params = [replace(kinds[at % len(kinds)], seed=seed + ROUND + at) for at in range(len(prompts))]
        for prompt, answer in zip(prompts, _written(system, engine, prompts, params), strict=True):
            yield [*prompt.ids[-LONGEST:], *answer]


def _opening(system: System) -> list[int]:
    """The prompt up to where a question begins: what two conversations have in common."""
    first, second = (conversation_ids(system, Conversation((Turn("user", text),))) for text in ("a", "0"))
    return [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))]


def _own(system: System) -> SamplingParams:
    """The parameters of a request that names none, but greedy where the model names no temperature."""
    named = {
        name: type(getattr(GREEDY, name))(value)
        for name, value in system.info.sampling_defaults.items()
        if hasattr(GREEDY, name)
    }
    return replace(GREEDY, **named)


def _written(
    system: System, engine: Engine, prompts: Sequence[LLMInputs], params: Sequence[SamplingParams]
) -> list[list[int]]:
    """The tokens of each answer."""
    for at, (prompt, one) in enumerate(zip(prompts, params, strict=True)):
        engine.add(EngineRequest(str(at), prompt, system.stops(one)))
    answers: list[list[int]] = [[] for _ in prompts]
    while engine.has_work:
        for output in engine.step():
            if output.error is None:
                answers[int(output.sequence_id)].append(output.token_id)
    return answers
