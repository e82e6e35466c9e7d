"""The untouched language model's answers to questions without a picture, which training must not unlearn."""

import json
from collections.abc import Sequence
from pathlib import Path

from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.types import Conversation, SamplingParams, Turn

_AT_ONCE = 32


def base_answers(llm_file: Path, questions: Sequence[str], tokens: int, cache: Path) -> dict[str, list[int]]:
    """Greedy answers as token ids, the end token included where it was reached; kept in a file of `cache`."""
    path = cache / f"base-answers-{tokens}.json"
    known: dict[str, list[int]] = json.loads(path.read_text()) if path.exists() else {}
    wanted = [question for question in questions if question not in known]
    if wanted:
        known |= _answer(llm_file, wanted, tokens)
        path.write_text(json.dumps(known))
    return {question: known[question] for question in questions}


def _answer(llm_file: Path, questions: Sequence[str], tokens: int) -> dict[str, list[int]]:
    llm, tokenizer = serve(load_llama(llm_file)), load_tokenizer(llm_file)
    engine = Engine(llm, tokenizer, EngineConfig(max_running=min(len(questions), _AT_ONCE), max_model_len=256))
    answers: dict[str, list[int]] = {question: [] for question in questions}
    for question in questions:
        ids = [
            i
            for i in token_ids(TEMPLATES["chatml"], tokenizer, Conversation((Turn("user", question),)))
            if i is not None
        ]
        ends = tuple(tokenizer.eos_ids)
        params = SamplingParams(max_tokens=tokens, temperature=0.0, stop_token_ids=ends)
        engine.add(EngineRequest(question, LLMInputs(llm.embed(ids), tuple(ids)), params))
    while engine.has_work:
        for output in engine.step():
            answers[output.sequence_id].append(output.token_id)
    return answers
