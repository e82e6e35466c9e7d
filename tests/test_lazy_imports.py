"""An import inside a function of the library is of a heavy package that may be absent, and says why beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

# Packages that are optional or take long to import; a module of ours that imports one is as heavy.
HEAVY = frozenset(
    {
        *("openvino", "vllm", "matplotlib", "gguf", "tokenizers", "sentencepiece", "faiss", "llguidance"),
        *("ctranslate2", "transformers"),
        *("pyarrow", "scipy", "h5py"),
    }
)
# A part of torch that older versions lack.
VERSIONED = frozenset({"torch.nn.attention.varlen"})
# Packages that import scipy, h5py and pyarrow by name, so that the graph does not see them.
BY_NAME = frozenset({"pandagpt_core.media.scientific"})


def lazy_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The module and the line of each import inside a function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield node.module or "", node.lineno
                elif isinstance(node, ast.Import):
                    yield from ((name.name, node.lineno) for name in node.names)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pandagpt_core", include_external_packages=True)


def is_heavy(module: str, graph: grimp.ImportGraph) -> bool:
    if module in VERSIONED | BY_NAME or module.partition(".")[0] in HEAVY:
        return True
    if module not in graph.modules:
        return False
    return not HEAVY.isdisjoint(graph.find_upstream_modules(module))


def test_only_heavy_packages_are_imported_inside_functions(root: Path, graph: grimp.ImportGraph) -> None:
    light = [
        f"{path.relative_to(root)}:{line} {module}"
        for path in sorted((root / "pandagpt_core").rglob("*.py"))
        for module, line in lazy_imports(ast.parse(path.read_text(encoding="utf-8")))
        if not is_heavy(module, graph)
    ]
    assert not light


def test_an_import_inside_a_function_has_its_reason_beside_it(root: Path) -> None:
    bare = []
    for path in sorted((root / "pandagpt_core").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = ["", *text.splitlines()]
        found = sorted({line for _, line in lazy_imports(ast.parse(text))})
        for line in found:
            first = line
            while first - 1 in found:  # neighbours share a reason
                first -= 1
            if "#" not in lines[line] + lines[first] + lines[first - 1]:
                bare.append(f"{path.relative_to(root)}:{line}")
    assert not bare
