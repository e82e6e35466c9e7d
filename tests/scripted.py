"""A model that calls functions and follows schemas, without a model: its answer is a function of the conversation.

It calls the first tool unless a tool has answered already, where it may or must; else it answers by the schema that it
must follow, else by a sentence. `Say: <text>` at the end of the last user turn makes it answer that text instead. Every
answer is held against the request's grammar, as the engine's masks would.
"""

import itertools
import json
from dataclasses import dataclass, field, replace
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from pandagpt_core.errors import ContextLengthExceeded
from pandagpt_core.grammars import LIMITS, compiled
from pandagpt_core.interface import Admitted, SequenceRequest
from pandagpt_core.types import Conversation, Grammar, ModelInfo, SamplingParams, TokenOutput
from tests.fakes import FAKE_INFO, FakeRuntime, prompt_tokens

PIECE = 3  # characters of a token
SENTENCE = "It is sunny in Paris."
BYTES = LLTokenizer("byte")


SCRIPTED_INFO = replace(FAKE_INFO, id="scripted", options=(), tools="auto", max_model_len=32_768)


@dataclass
class ScriptedRuntime(FakeRuntime):
    """`seen`: the requests that reached the model."""

    info: ModelInfo = SCRIPTED_INFO
    seen: list[tuple[Conversation, SamplingParams]] = field(default_factory=list)
    _running: dict[str, list[str]] = field(default_factory=dict)
    _limits: dict[str, int] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=dict)

    def admit(self, request: SequenceRequest) -> Admitted:
        self.seen.append((request.conversation, request.params))
        if (prompt := prompt_tokens(request.conversation)) >= self.info.max_model_len:
            raise ContextLengthExceeded.of(self.info.max_model_len, f"the prompt has {prompt} tokens")
        text = answer(request.conversation, request.params.grammar)
        assert follows(request.params.grammar, text), f"the answer does not follow its grammar: {text}"
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        self._running[request.id] = pieces[len(request.resume) :]
        self._made[request.id], self._limits[request.id] = len(request.resume), request.params.max_tokens
        return Admitted(prompt)

    def step(self) -> list[TokenOutput]:
        outputs = []
        for sequence, pieces in list(self._running.items()):
            text = pieces.pop(0)
            self._made[sequence] += 1
            finish = "stop" if not pieces else "length" if self._made[sequence] >= self._limits[sequence] else None
            outputs.append(TokenOutput(sequence, self._made[sequence], text, finish))
            if finish is not None:
                del self._running[sequence]
        return outputs

    def abort(self, sequence_id: str) -> None:
        self._running.pop(sequence_id, None)

    @property
    def has_work(self) -> bool:
        return bool(self._running)


def answer(conversation: Conversation, grammar: Grammar | None) -> str:
    last = conversation.turns[-1]
    if (given := last.text.rpartition("Say: "))[1]:
        return given[2]
    forced = not follows(grammar, SENTENCE) and conversation.tools
    if conversation.tools and (last.role != "tool" or forced):
        function = json.loads(conversation.tools[0])["function"]
        return call(function["name"], instance(function["parameters"], function["parameters"]))
    if grammar is not None and grammar.kind == "json_schema":
        schema = json.loads(grammar.text)
        return json.dumps(instance(schema, schema))
    return SENTENCE


def call(name: str, arguments: Any) -> str:
    body = f'"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {json.dumps(arguments)}'
    return f"<tool_call>\n{{{body}}}\n</tool_call>"


def follows(grammar: Grammar | None, text: str) -> bool:
    if grammar is None:
        return True
    matcher = LLMatcher(BYTES, compiled(grammar), limits=LIMITS, log_level=0)
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


def instance(schema: Any, root: Any) -> Any:
    """A value of the schema: of alternatives the first, of lists one item."""
    if "$ref" in schema:
        return instance(_target(schema["$ref"], root), root)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return instance(schema[name][0], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    plain: dict[str, Any] = {"string": "Paris", "integer": 36, "number": 3.5, "boolean": True, "null": None}
    if kind in plain:
        return plain[kind]
    if kind == "array":
        return [instance(schema.get("items", {"type": "string"}), root)]
    return {name: instance(one, root) for name, one in schema.get("properties", {}).items()}


def _target(ref: str, root: Any) -> Any:
    target = root
    for name in itertools.islice(ref.split("/"), 1, None):
        target = target[name]
    return target
