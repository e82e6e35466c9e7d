"""ImageBind-LLM's prompts: with an input beside the instruction, the opening is another and the input stands last."""

import dataclasses

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.prompts import TEMPLATES, Slot, Span, Template, prompt_ids
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.types import Conversation, OptionSpec

PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
)


INPUT = OptionSpec("input", "string", "context beside the instruction, Alpaca's input; of the last turn", default="")


def prompt_of(prompting: Prompting, conversation: Conversation, given: str) -> list[int]:
    """Token ids of the conversation; `given` is the last turn's input, empty for none."""
    template = prompting.template
    if given and conversation.turns[-1].role != "user":
        raise InvalidRequest("an input belongs to the last message, which must be the user's", param="input")
    if given and template is TEMPLATES["alpaca"]:
        template = with_input(template, given)
    elif given:
        *before, last = conversation.turns
        joined = dataclasses.replace(last, text=f"{last.text}\n\n{given}")
        conversation = dataclasses.replace(conversation, turns=(*before, joined))
    ids = prompt_ids(template, prompting.tokenizer, conversation, prompting.bos_id)
    return [token for token in ids if isinstance(token, int)]


def with_input(template: Template, given: str) -> Template:
    """Alpaca's second form. Another family's template has the input behind the instruction."""
    return dataclasses.replace(
        template,
        opening=(Slot.BOS, PAIRED),
        cue=("### Input:\n", Span(given, caller=True), template.separator, *template.cue),
    )
