"""Instructions for the second phase: questions of many forms about a picture, and questions without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pandagpt_core.llm.tokenizers.base import Tokenizer
from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.language.projection_lora import text_prompt
from recipes.panda_mini.language.qa_templates import NO_PICTURE, ask_of_nothing, say
from recipes.panda_mini_bind.config import TuneConfig


@dataclass(frozen=True, slots=True)
class Instruction:
    """Token ids of a prompt, and of its answer with the end. concept: by index; None where no medium is given."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    concept: int | None = None


def instructions(
    tokenizer: Tokenizer, concepts: Sequence[Concept], plain: Mapping[str, Sequence[int]], config: TuneConfig
) -> tuple[Instruction, ...]:
    """`each` talks of every concept, the questions of `plain` with the untouched model's answers, and questions about a
    picture that is not there. All are distinct, and the same for equal arguments."""
    rng, end = np.random.default_rng(config.seed), next(iter(tokenizer.eos_ids))

    def laid(question: str, answer: str, concept: int | None = None) -> Instruction:
        return Instruction(_prompt(tokenizer, question), (*tokenizer.encode(answer), end), concept)

    pictured = [laid(*say(one, concepts, rng), at) for at, one in enumerate(concepts) for _ in range(config.each)]
    alone = [Instruction(_prompt(tokenizer, asked), tuple(ids[: config.text_tokens])) for asked, ids in plain.items()]
    nothing = [laid(ask_of_nothing(concepts, rng), NO_PICTURE) for _ in range(config.nothing)]
    return tuple(dict.fromkeys((*pictured, *alone, *nothing)))


def _prompt(tokenizer: Tokenizer, question: str) -> tuple[int, ...]:
    return tuple(token for token in text_prompt(tokenizer, question) if token is not None)
