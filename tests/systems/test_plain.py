"""Plain prompts over a real tokenizer and a small language model: ids, bytes and log probabilities."""

import pytest
import torch

from pandagpt_core.errors import ContextLengthExceeded, InvalidRequest
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems.plain import ROWS
from pandagpt_core.types import Conversation, SamplingParams, Turn
from tests.conftest import ROOT

FOLDER = ROOT / "models/panda-mini"
TEXT = "The panda eats bamboo."


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return load_model(FOLDER, RuntimeOptions(dtype="float32", runner="torch", max_sequences=2, verify=False))


def answered(runtime: Runtime, prompt: object, tokens: int = 4) -> list[int]:
    request = SequenceRequest("x", Conversation(()), [], SamplingParams(tokens, temperature=0), prompt=prompt)
    runtime.admit(request)
    found = []
    while runtime.has_work:
        found += [output.token_id for output in runtime.step()]
    return found


def test_text_and_its_ids_are_the_same_prompt(runtime: Runtime) -> None:
    ids = runtime.tokenize(TEXT)
    assert runtime.detokenize(ids) == TEXT
    assert b"".join(token.piece for piece in runtime.prompt_tokens(TEXT, None) for token in piece).decode() == TEXT
    assert answered(runtime, TEXT) == answered(runtime, ids)


def test_a_prompts_log_probabilities_are_the_models_own_in_short_pieces(runtime: Runtime) -> None:
    ids = runtime.tokenize(f"{TEXT} " * 24)
    pieces = list(runtime.prompt_tokens(ids, 3))
    assert max(map(len, pieces)) <= ROWS < len(ids) - 1
    found = [token for piece in pieces for token in piece]
    llm = runtime._system.llm
    with torch.inference_mode():
        logprobs = torch.log_softmax(llm(llm.embed(ids)[None])[0].float(), dim=-1)
    assert [token.token_id for token in found] == ids
    assert found[0].logprob is None
    for at, token in enumerate(found[1:], 1):
        assert token.logprob == pytest.approx(float(logprobs[at - 1, ids[at]]), abs=1e-3)
        assert token.top[0][2] == pytest.approx(float(logprobs[at - 1].max()), abs=1e-3)
        assert len(token.top) == 3


def test_messages_are_tokenised_in_the_template(runtime: Runtime) -> None:
    ids = runtime.tokenize(Conversation((Turn("user", "Hi"),)))
    assert len(ids) > len(runtime.tokenize("Hi"))
    assert min(ids) >= 0


def test_what_cannot_be_a_prompt_is_refused(runtime: Runtime) -> None:
    vocabulary, context = runtime._system.llm.config.vocab, runtime.info.max_model_len
    with pytest.raises(InvalidRequest, match=str(vocabulary)):
        runtime.tokenize([vocabulary])
    with pytest.raises(InvalidRequest, match="empty"):
        answered(runtime, [])
    with pytest.raises(ContextLengthExceeded):
        answered(runtime, [5] * context)
    with pytest.raises(ContextLengthExceeded):
        list(runtime.prompt_tokens([5] * context, 0))
    with pytest.raises(ContextLengthExceeded):
        runtime.tokenize("a " * context * 32)
