"""The pages are plain English: proselint's checks, and a few rules for readers whose first language is another.

Code, tables and quotations are left out. `docs/log.md` is a record of what was decided and is not rewritten.
"""

import itertools
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pages import pages

RECORDS = {ROOT / "docs/log.md", ROOT / "CODE_OF_CONDUCT.md"}
LONGEST = 38  # words of a sentence
CLAUSE = r"(?:what|who|which)(?:ever)?|how|whose|why|those|all that"
RULES = {
    rf"^\W*(?:{CLAUSE})\b(?!.*\?\W*$)": "a relative clause is the subject: name who or what acts",
    r"[.!?:] (?:who|what|which)ever\b": "a relative clause is the subject: name who or what acts",
    r"\b(?:is|are|was|were|gets|get) told\b": "data is not told: it is sent, stored, shown or named",
    r"\b(?:utili[sz]e|leverage|facilitate|in order to|prior to|subsequent to)\b": "a shorter word says the same",
    r"\b(?:simply|obviously|of course|just)\b": "the reader decides what is simple",
    r"\b(?:please|sorry)\b": "a page states what to do",
    r"\b(?:heed|bethink|lest|albeit|hitherto|whilst|thereof|wherein)\b": "a rare word: use a common one",
}
QUIET = ("typography", "weasel_words", "hedging", "cliches", "dates_times", "misc.but", "spelling")
_LINK = re.compile(r"\]\([^)]*\)")


def prose(page: Path) -> str:
    """The page's sentences. Each piece of code becomes one word of its own, so that sentences keep their length."""
    number = itertools.count()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(?:\||#| {4,}\S).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"<!-- figures.*?<!-- end of figures -->", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`]*`", lambda _: f"Term{_letters(next(number))}", _LINK.sub("]", text))


def _letters(number: int) -> str:
    """A name without digits, since proselint takes "Term2 2" for a word said twice."""
    return chr(ord("a") + number // 26 % 26) + chr(ord("a") + number % 26)


def sentences(text: str) -> list[str]:
    """Sentences and list items, each on one line."""
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", text)
    flat = (re.sub(r"\s+", " ", block).strip(" *-") for block in blocks)
    return [one for block in flat for one in re.split(r"(?<=[.!?])[*]*\s+(?=[A-Z\[(])", block) if one]


def faults(text: str) -> list[str]:
    return [f"{why}: {one}" for one in sentences(text) for rule, why in RULES.items() if re.search(rule, one, re.I)]


def test_a_clause_as_subject_is_a_fault_and_a_question_is_none() -> None:
    bad = (
        "What is kept lives an hour.",
        "- **Whoever** calls waits.",
        "How it starts: by hand.",
        "Those of a file stay.",
    )
    assert [one for one in bad if not faults(one)] == []
    assert faults("The files that are kept live an hour. What is this?") == []


# Cards and licences state what was measured and granted, in longer sentences.
CARDS = ("models", "recipes", "samples", "benchmarks")
WRITTEN = [page for page in pages() if page not in RECORDS and page.relative_to(ROOT).parts[0] not in CARDS]


@pytest.mark.parametrize(
    "page", [page for page in pages() if page not in RECORDS], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_heading_names_its_thing(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(rf"^#+ (?:{CLAUSE})\b.*$", text, re.IGNORECASE | re.MULTILINE) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_keeps_the_rules_of_plain_english(page: Path) -> None:
    assert faults(prose(page)) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_sentence_has_one_idea_and_so_a_length(page: Path) -> None:
    long = [one for one in sentences(prose(page)) if len(one.split()) > LONGEST]
    assert long == [], f"sentences of more than {LONGEST} words"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_proselint_finds_nothing(page: Path) -> None:
    tools = pytest.importorskip("proselint.tools")
    registry = pytest.importorskip("proselint.registry")
    checks = pytest.importorskip("proselint.checks")
    known = registry.CheckRegistry()
    if not known.checks:
        known.register_many(checks.__register__)
    results = tools.LintFile(page.name, content=prose(page)).lint()
    found = [result.check_result for result in results if not result.check_result.check_path.startswith(QUIET)]
    assert [f"{each.check_path}: {each.message}" for each in found] == []
