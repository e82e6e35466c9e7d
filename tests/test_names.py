"""A name of a type stands for one thing. Docstrings and comments name their subject, and no verb of speech."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("service", "pandagpt_core", "recipes", "benchmarks")
PLAIN = ("service", "pandagpt_core")
LONGEST_NAME = 75  # characters of a test's name
SPEECH = re.compile(r"\b(told|tells?|telling|hears?|heard|says?|said)\b", re.IGNORECASE)
ASKED = re.compile(r"(?<!`)\bask(s|ed)?\b(?![\w.]* for\b|\.json|`)")  # to ask for a thing is to want it: no speech
SPOKEN = (  # about sounds that hold speech
    "pandagpt_core/perception/asked.py",
    "service/gateway/inference/parsing/speech.py",
    "service/gateway/openapi/examples/sound.py",
    "service/gateway/routes/audio.py",
    "service/gateway/streaming/transcripts.py",
)
QUESTIONS = (  # people's questions to a model
    "pandagpt_core/perception",
    "pandagpt_core/training/evaluation",
    "service/commands/client",
)
CLAUSE = r"(?:what|who|which)(?:ever)?|whose|whom|why|those|all that|the ones? (?:that|who)"
OPENING = re.compile(rf"(?i:{CLAUSE}|(?:how|where|when)(?:ever)?|that)\b|(?:Its?|They|Everything)\b")
LATER = re.compile(rf"[.!?] (?=[A-Z])(?i:{CLAUSE})\b")
STILL_ASK = ("service/broker", "service/gateway/access")  # may only shrink


def classes(root: Path) -> dict[str, list[str]]:
    """The modules that define each class, nested ones too."""
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(str(file.relative_to(root)))
    return found


def test_a_class_name_is_defined_once(root: Path) -> None:
    found = classes(root)
    assert len(found) > 300
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


ALIAS = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")  # neither a constant nor private to its module


def aliases(tree: ast.Module) -> set[str]:
    """Names that a module gives to types: `X = ...` and `X: TypeAlias = ...` outside of classes and functions."""
    found: set[str] = set()
    statements = list(tree.body)
    for node in statements:
        match node:
            case ast.If():  # a name for type checkers beside one at run time
                statements += node.body + node.orelse
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return {name for name in found if ALIAS.fullmatch(name)}


def test_a_name_of_a_type_is_defined_once(root: Path) -> None:
    """Of the service and the library: a name stands for the same thing in all modules."""
    found = {
        name: {file for file in files if file.startswith(("service/", "pandagpt_core/"))}
        for name, files in classes(root).items()
    }
    count = 0
    for package in ("service", "pandagpt_core"):
        for file in sorted((root / package).rglob("*.py")):
            for name in aliases(ast.parse(file.read_text(encoding="utf-8"))):
                count += 1
                found.setdefault(name, set()).add(str(file.relative_to(root)))
    assert count > 100
    assert {name: sorted(files) for name, files in found.items() if len(files) > 1} == {}


def imported_functions(root: Path) -> dict[str, set[str]]:
    """Each public function of a module that another one imports by name: the modules that define one so named."""
    trees: dict[str, ast.Module] = {}
    for package in ("service", "pandagpt_core"):
        for file in sorted((root / package).rglob("*.py")):
            if file.stem != "__init__":  # a package passes on a name that its users may qualify
                module = ".".join(file.relative_to(root).with_suffix("").parts)
                trees[module] = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {(module, node.name) for module, tree in trees.items() for node in tree.body if isinstance(node, kinds)}
    found: dict[str, set[str]] = defaultdict(set)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for name in node.names:
                    if (str(node.module), name.name) in defined:
                        found[name.name].add(str(node.module))
    return found


def test_a_function_imported_by_its_name_is_the_only_one(root: Path) -> None:
    """Of the service and the library: a call reads the same in all modules."""
    found = imported_functions(root)
    assert len(found) > 500
    assert {name: sorted(modules) for name, modules in found.items() if len(modules) > 1} == {}


def words(source: str) -> Iterator[str]:
    """The comments, those of successive lines as one text, and the docstrings."""
    block, end = "", 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            (line, _), text = token.start, token.string.lstrip("#: ")
            alone = token.line.lstrip().startswith("#")
            if not (alone and line == end + 1):
                yield block
                block = ""
            block, end = f"{block} {text}".lstrip(), line if alone else 0
    yield block
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def with_a_clause_as_subject(source: str) -> list[str]:
    flat = (" ".join(text.split()) for text in words(source))
    return [text for text in flat if OPENING.match(text) or LATER.search(text)]


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_docstrings_and_comments_open_with_a_noun_or_a_verb(root: Path, package: str) -> None:
    """A reader of another first language finds the thing that is described in the first words."""
    found = {
        str(file.relative_to(root)): clauses
        for file in sorted((root / package).rglob("*.py"))
        if (clauses := with_a_clause_as_subject(file.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text", ["What a worker holds.", "who waits", "Those of a file.", "It ends.", "A table. Whoever reads it waits."]
)
def test_a_clause_or_a_pronoun_is_found_where_a_subject_is_due(text: str) -> None:
    assert with_a_clause_as_subject(f'def f():\n    """{text}"""\n') == [text]
    assert with_a_clause_as_subject(f"x = 1\n# {text}\n") == [text]


@pytest.mark.parametrize(
    "text", ["State of a worker.", "Whether it ends.", "Reads those that wait. Where none is, it waits."]
)
def test_a_noun_a_verb_and_a_condition_are_subjects_enough(text: str) -> None:
    assert with_a_clause_as_subject(f'"""{text}"""\nx = 1  # its first\n# {text} Copies\n# what is there.\n') == []


@pytest.mark.parametrize("package", PLAIN)
def test_data_is_sent_and_stored_and_never_said(root: Path, package: str) -> None:
    files = sorted((root / package).rglob("*.py"))
    assert files
    spoken = {
        str(file.relative_to(root)): found
        for file in files
        if not str(file.relative_to(root)).startswith(SPOKEN)
        if (found := [text for text in words(file.read_text(encoding="utf-8")) if SPEECH.search(text)])
    }
    assert spoken == {}


def test_programs_request_and_only_people_ask(root: Path) -> None:
    asked = {
        (name, found[0])
        for package in PLAIN
        for file in sorted((root / package).rglob("*.py"))
        if not (name := str(file.relative_to(root))).startswith((*QUESTIONS, *STILL_ASK))
        for text in words(file.read_text(encoding="utf-8"))
        if (found := ASKED.search(text))
    }
    assert asked == set()


def test_the_name_of_a_test_is_a_short_sentence(root: Path) -> None:
    names = [
        node.name
        for file in sorted((root / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) > 2000
    assert [name for name in names if len(name) > LONGEST_NAME] == []
