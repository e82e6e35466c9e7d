"""Ask a model folder every question and tell how it does: `python -m recipes.panda_mini.questions.measure FOLDER`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.evaluation.answerer import Held
from pandagpt_core.training.evaluation.measures import Rate, wilson
from pandagpt_core.types import Conversation, MediaUse, SamplingParams, Turn
from recipes.panda_mini.data.packages import PACKAGES, fetch_all
from recipes.panda_mini.questions.files import QuestionFiles
from recipes.panda_mini.questions.score import Score, score
from recipes.panda_mini.questions.table import KINDS, TableQuestion, load_questions

TOKENS = 48
AT_ONCE = 16
_TAGS = "emojibase-data"  # by which the icons of the scenes are found


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    question: TableQuestion
    answer: str
    score: Score


def ask_all(runtime: Runtime, questions: Sequence[TableQuestion], files: QuestionFiles) -> list[MeasuredAnswer]:
    """Greedy answers as served, the folder's own sampling defaults with them."""
    encoded = _encode(runtime, {name for question in questions for name in question.media}, files)
    talks = [(Turn("user", question.turns[0]),) for question in questions]
    answers = _answers(runtime, questions, talks, encoded)
    later = [index for index, question in enumerate(questions) if len(question.turns) > 1]
    again = [(*talks[i], Turn("assistant", answers[i]), Turn("user", questions[i].turns[1])) for i in later]
    for index, answer in zip(later, _answers(runtime, [questions[i] for i in later], again, encoded), strict=True):
        answers[index] = answer
    return [MeasuredAnswer(q, answer, score(q, answer)) for q, answer in zip(questions, answers, strict=True)]


def _encode(runtime: Runtime, names: set[str], files: QuestionFiles) -> dict[str, tuple[Held, Any]]:
    found = {}
    for name in sorted(names):
        held = files.held(name)
        array = load(runtime.info.recipes[held.modality], held.data, dict(held.params), Limits())
        found[name] = held, runtime.encode(held.modality, [array])[0]
    return found


def _answers(
    runtime: Runtime,
    questions: Sequence[TableQuestion],
    talks: Sequence[tuple[Turn, ...]],
    encoded: Mapping[str, tuple[Held, Any]],
) -> list[str]:
    defaults = {"temperature": 0.0} | runtime.info.sampling_defaults
    params = msgspec.convert({"max_tokens": TOKENS} | defaults, SamplingParams, strict=False)  # numbers of JSON
    texts: dict[str, str] = {}
    for start in range(0, len(questions), AT_ONCE):
        for index in range(start, min(start + AT_ONCE, len(questions))):
            media = [encoded[name] for name in questions[index].media]
            uses = tuple(MediaUse(held.modality, f"{at:064x}", 0) for at, (held, _) in enumerate(media))
            talk = Conversation(talks[index], uses)
            runtime.admit(SequenceRequest(str(index), talk, [rows for _, rows in media], params))
            texts[str(index)] = ""
        while runtime.has_work:
            for output in runtime.step():
                texts[output.sequence_id] += output.text
    return list(texts.values())


def figures(answered: Sequence[MeasuredAnswer]) -> dict[str, Any]:
    """The share of right answers by kind, and the rate of confident wrong names among known and unknown subjects."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        scores = [one.score for one in answered if one.question.kind == kind]
        if scores:
            found[kind] = _rate(sum(s.hits for s in scores), sum(s.of for s in scores))
    for kind in ("known", "unknown"):
        scores = [one.score for one in answered if one.question.kind == kind]
        found[f"confident wrong, {kind}"] = _rate(sum(s.confident_wrong for s in scores), len(scores))
    scenes = [one for one in answered if _is_of_scene(one.question)]
    photographs = [one for one in answered if one.question.media and not _is_of_scene(one.question)]
    for where, ones in (("scenes", scenes), ("photographs", photographs)):
        for kind in ("colour", "count", "where"):
            scores = [one.score for one in ones if one.question.kind == kind]
            found[f"{kind}, {where}"] = _rate(sum(s.hits for s in scores), len(scores))
    return found


def _is_of_scene(question: TableQuestion) -> bool:
    return bool(question.media) and question.media[0].startswith("scene:")


def _rate(hits: int, n: int) -> dict[str, Any]:
    if not n:
        return {"n": 0}
    low, high = wilson(hits, n)
    return {
        "n": n,
        "hits": hits,
        "share": round(Rate(n, hits).share, 4),
        "interval_95": [round(low, 4), round(high, 4)],
    }


def thinned(questions: Sequence[TableQuestion], thin: int) -> list[TableQuestion]:
    """Of each kind every `thin`-th question that has media, its first among them; all questions where thin is 1."""
    if thin == 1:
        return list(questions)
    shown = [question for question in questions if question.media]
    return [one for kind in KINDS for one in [q for q in shown if q.kind == kind][::thin]]


def main(said: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--thin", type=int, default=1, metavar="N", help="of each kind every Nth question about media")
    parser.add_argument("--out", type=Path, help="a JSON file with every answer")
    asked = parser.parse_args(said)
    fetch_all(asked.cache / "packages", [p for p in PACKAGES if p.use == "validation" or p.name == _TAGS])
    runtime = load_model(asked.folder, RuntimeOptions(dtype="auto", max_sequences=AT_ONCE))
    answered = ask_all(runtime, thinned(load_questions(), asked.thin), QuestionFiles(asked.cache / "packages"))
    for name, rate in figures(answered).items():
        if rate["n"]:
            low, high = rate["interval_95"]
            sys.stdout.write(
                f"{name:28} {rate['hits']:4} of {rate['n']:4}  {rate['share']:.0%} ({low:.0%} to {high:.0%})\n"
            )
    if asked.out:
        rows = [
            {"media": a.question.media, "kind": a.question.kind, "asked": a.question.turns, "answer": a.answer,
             "right": a.score.right, "confident wrong": a.score.confident_wrong}
            for a in answered
        ]  # fmt: skip
        asked.out.write_text(json.dumps({"figures": figures(answered), "answers": rows}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
