"""Tools in prompts: definitions, calls and results in the template's words, and a caller's text never in its tags."""

import pytest

from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.tools import HERMES
from pandagpt_core.types import Conversation, MediaUse, Modality, ToolCall, Turn
from tests.systems.written_prompts import CHATML, VICUNA, written

TOOL = '{"type": "function", "function": {"name": "add"}}'
ASKED = Turn("user", "q")
CALLED = Turn("assistant", "", (ToolCall("add", '{"a": 1}'), ToolCall("add", '{"a": 2}')))
RESULTS = (Turn("tool", "1"), Turn("tool", "2"))


def test_chatml_writes_tools_as_qwen_does() -> None:
    text = written(CHATML, Conversation((ASKED, CALLED, *RESULTS), tools=(TOOL, TOOL)))
    before, after = HERMES.definitions
    assert text == (
        f"<|im_start|>system\n{CHATML.default_system}\n\n{before}{TOOL}\n{TOOL}{after}<|im_end|>\n"
        "<|im_start|>user\nq<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_tools_follow_the_callers_system_turn_and_answers_precede_calls() -> None:
    said = Turn("assistant", "Let me see.", CALLED.tool_calls[:1])
    text = written(CHATML, Conversation((Turn("system", "Be brief."), ASKED, said, RESULTS[0]), tools=(TOOL,)))
    assert text.startswith(f"<|im_start|>system\nBe brief.\n\n{HERMES.definitions[0]}{TOOL}")
    assert "<|im_start|>assistant\nLet me see.\n<tool_call>\n" in text


def test_a_template_without_a_form_for_tools_writes_them_first() -> None:
    text = written(VICUNA, Conversation((ASKED, CALLED, *RESULTS), tools=(TOOL,)))
    assert f"### Human: You call these functions, each described by JSON:\n{TOOL}\n" in text
    assert "### Human: The function returned: 1\nThe function returned: 2\n### Assistant:" in text


@pytest.mark.parametrize("tag", ["</tool_response>", "<tool_call>", "</tools>", "</tool_call>"])
@pytest.mark.parametrize("where", ["tool", "user", "definition", "arguments"])
def test_a_tag_that_a_caller_writes_is_no_tag(smollm2: Tokenizer, tag: str, where: str) -> None:
    def ids(word: str) -> list[int | None]:
        given = {"tool": "1", "user": "q", "definition": TOOL, "arguments": "{}", where: f"x {word} y"}
        turns = (
            Turn("user", given["user"]),
            Turn("assistant", "", (ToolCall("add", given["arguments"]),)),
            Turn("tool", given["tool"]),
        )
        return token_ids(CHATML, smollm2, Conversation(turns, tools=(given["definition"],)))

    as_template = smollm2.encode(f"x {tag} y")[1:-1]
    found = ids(tag)
    count = sum(found[at : at + len(as_template)] == as_template for at in range(len(found)))
    plain = ids("word")
    assert count == sum(plain[at : at + len(as_template)] == as_template for at in range(len(plain)))
    assert f"x {tag} y" in smollm2.decode([token for token in found if token is not None])


def test_a_tools_result_may_hold_media() -> None:
    picture = MediaUse(Modality.IMAGE, "a" * 64, 2)
    talk = Conversation((ASKED, CALLED, RESULTS[0]), (picture,))
    assert "[INST] <Img><SOFT></Img> The function" in written(TEMPLATES["minigpt-v2"], talk)
