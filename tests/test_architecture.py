"""ARCHITECTURE.md's tree is the folders' tree: each listed file exists, and every package is listed."""

import ast
import re
import subprocess
from pathlib import Path

import pytest


def listed(root: Path) -> list[str]:
    """The paths of the tree, by their indentation."""
    block = (root / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## The tree")[1].split("```")[1]
    paths: list[str] = []
    above: list[str] = []
    for line in block.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], line.split()[0]]
        paths.append("".join(above))
    return paths


def tracked(root: Path) -> list[str]:
    if not (root / ".git").exists():
        pytest.skip("no git checkout, so no list of the project's files")
    output = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    return output.splitlines()


def test_every_listed_path_exists(root: Path) -> None:
    files = tracked(root)
    missing = [path for path in listed(root) if not any(file == path or file.startswith(path) for file in files)]
    assert not missing


def test_every_package_and_every_top_level_folder_is_listed(root: Path) -> None:
    files = [Path(file) for file in tracked(root)]
    packages = {f"{file.parent}/" for file in files if file.name == "__init__.py" and file.parts[0] != "tests"}
    folders = {f"{file.parts[0]}/" for file in files if len(file.parts) > 1 and not file.parts[0].startswith(".")}
    shown = set(listed(root))
    assert not packages - shown
    assert not {folder for folder in folders if not any(path.startswith(folder) for path in shown)}


def test_the_modules_that_stand_alone_in_a_room_are_listed(root: Path) -> None:
    rooms = [Path("service"), Path("pandagpt_core")]
    modules = {file for file in tracked(root) if Path(file).parent in rooms and file.endswith(".py")}
    assert not {file for file in modules if not file.endswith("__init__.py")} - set(listed(root))


NAMED = re.compile(r"`((?:service|broker|worker|pandagpt_core|[a-z_]+)/[a-z_/]+\.(?:py|lua))`")


def test_every_file_named_in_the_steps_of_a_request_exists(root: Path) -> None:
    steps = (root / "ARCHITECTURE.md").read_text(encoding="utf-8").split("## A request, step by step")[1]
    named = set(NAMED.findall(steps.split("## A model system")[0]))
    files = set(tracked(root))
    places = ("", "service/", "service/gateway/", "service/broker/")
    assert len(named) > 15
    assert {name for name in named if not any(f"{place}{name}" in files for place in places)} == set()


def test_the_root_holds_nothing_that_a_program_left_there(root: Path) -> None:
    """Pages, the project's own files, and files whose names begin with a dot."""
    own = {"CITATION.cff", "LICENSE", "Makefile", "docker-compose.yml", "openapi.yaml", "pyproject.toml"}
    assert {file for file in tracked(root) if "/" not in file and not file.endswith(".md") and file[0] != "."} == own


def test_no_module_imports_a_module_of_tests(root: Path) -> None:
    """The common code of two test modules stands in a plain module beside them: test files move without harm."""
    found: set[str] = set()
    for file in tracked(root):
        if file.startswith("tests/") and file.endswith(".py"):
            for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    modules = {file.removesuffix(".py").replace("/", ".") for file in tracked(root) if "/test_" in file}
    assert not (found & modules)


# Folders of tests about the whole, or about what is no Python.
SUBJECTS = {"cases", "chaos", "contract", "deploy", "parity", "security", "web"}
# Folders and modules that stand between a stranger's bytes and the machine, the store or another caller.
CRITICAL = {
    "service/broker": "keys permissions protocol",
    "service/commands/models/fetching": "checksums downloader locations originals resolver transfer",
    "service/gateway/access": "",
    "service/gateway/connections": "half_closed protocol",
    "service/gateway/decoding": "child fair_queue pool protocol warmup",
    "service/gateway/decoding/sandbox": "",
    "service/gateway/inference/parsing": "conversation form json_body json_scan",
    "service/gateway/media": "fetch files media_uuids medium multipart resolve sources url_policy",
}  # all modules where none is named


def test_a_folder_of_tests_has_the_name_and_place_of_what_it_tests(root: Path) -> None:
    folders = {Path(file).parent.relative_to("tests") for file in tracked(root) if file.startswith("tests/")}
    mirrors = {folder for folder in folders if folder.parts and folder.parts[0] not in SUBJECTS}
    assert len(mirrors) > 50
    places = [root, root / "service", root / "pandagpt_core"]
    assert not {folder for folder in mirrors if not any((place / folder).is_dir() for place in places)}


def test_each_module_that_security_rests_on_has_a_test_file_of_its_name(root: Path) -> None:
    files = set(tracked(root))
    for folder, names in CRITICAL.items():
        modules = names.split() or [file.stem for file in (root / folder).glob("*.py") if file.stem != "__init__"]
        assert len(modules) > 1, folder
        for module in modules:
            assert f"{folder}/{module}.py" in files
            test = f"tests/{folder.partition('/')[2]}/test_{module}.py"
            assert test in files, test
            assert "\ndef test_" in (text := (root / test).read_text(encoding="utf-8")) or "\nasync def test_" in text


SMALL, LONG = 60, 280  # lines: of a fragment, and of a module beyond which no more fits into it
# Fragments with one caller that stand apart by the rule of their folder.
RULES = {
    "pandagpt_core/convert/downloads": "a file a published folder",
    "pandagpt_core/media/scientific": "a file a library that few media need, imported by name",
    "service/commands/models": "a file a command",
    "service/commands/models/converters": "a file a published system",
    "service/gateway/decoding/sandbox": "a file a measure of security",
}
# Fragments with a reason of their own.
APART = {
    "pandagpt_core/convert/ngrams/counting.py": "an algorithm by itself, held against another implementation",
    "pandagpt_core/engine/base.py": "the interface of two engines, which stand below it",
    "pandagpt_core/media/maps/metric.py": "a recipe, imported by its name in the registry of modalities",
    "pandagpt_core/speech/features.py": "an algorithm by itself, held against another implementation",
    "service/gateway/inference/stored_responses.py": "inference.responses is imported by what this one imports",
}


def lines(root: Path, file: str) -> int:
    return len((root / file).read_text(encoding="utf-8").splitlines())


def callers(root: Path) -> dict[str, set[str]]:
    """Each module's importers, but of those that their package's `__init__` imports: entries of it, or public names."""
    rooms = ("service/", "pandagpt_core/", "recipes/", "benchmarks/")
    files = [file for file in tracked(root) if file.endswith(".py") and file.startswith(rooms)]
    modules = {file.removesuffix(".py").replace("/", "."): file for file in files if not file.endswith("__init__.py")}
    found: dict[str, set[str]] = {file: set() for file in modules.values()}
    for file in files:
        for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            for imported in {modules[name] for name in names if name in modules}:
                found[imported].add(file)
    return {file: those for file, those in found.items() if f"{Path(file).parent}/__init__.py" not in those}


def test_a_fragment_with_one_caller_stands_with_it_or_has_a_reason(root: Path) -> None:
    """A module below 60 lines that one other imports belongs to that one, unless it would grow too long."""
    found = {
        file: caller
        for file, importers in callers(root).items()
        if file.startswith(("service/", "pandagpt_core/")) and lines(root, file) < SMALL and len(importers) == 1
        for caller in importers
    }
    by_rule = {file for file in found if str(Path(file).parent) in RULES}
    apart = {file for file in set(found) - by_rule if lines(root, file) + lines(root, found[file]) <= LONG}
    assert apart - set(APART) == set(), "fold it into its caller, or give its reason in APART"
    assert set(APART) - apart == set(), "no fragment with one caller any more"
    assert set(RULES) - {str(Path(file).parent) for file in by_rule} == set(), "no such fragment there any more"


def test_no_gather_may_lose_a_cancellation(root: Path) -> None:
    """`asyncio.gather` raises a child's error in place of a cancellation of the same moment, and who tries again after
    an error is not ended then. With `return_exceptions` it does not."""
    unfailing = {"service/gateway/decoding/child_process.py"}  # the end of a process and of a pipe: neither can fail
    files = [file for file in tracked(root) if file.startswith("service/") and file.endswith(".py")]
    calls = [
        (file, {keyword.arg for keyword in node.keywords})
        for file in files
        for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.gather"
    ]
    assert {file for file, keywords in calls if "return_exceptions" not in keywords} == unfailing
