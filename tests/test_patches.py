"""Tests hand their fakes in by arguments. The patches left inside of our packages are listed, with reasons."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

OURS = ("service.", "pandagpt_core.", "benchmarks.", "recipes.")
PATCHERS = frozenset({"setattr", "delattr", "setitem", "delitem", "patch", "patch.object", "patch.dict"})
SEEK = "pandagpt_core.media.video.seeking._seek"
# By the test's file, what is replaced and why nothing else shows what the test shows.
LEFT: Mapping[str, Mapping[str, str]] = {
    "benchmarks/test_models.py": {
        "pandagpt_core.llm.quant.linear.int8_runs": "a processor without exact int8 kernels, several calls away",
    },
    "benchmarks/test_rounds.py": {
        "benchmarks.contestants.base.ROOT": "a child's module lies in the folder of the test, not in the project's",
    },
    "chaos/test_every_store_command.py": {
        "service.broker.gateway.departures.*": "pauses of a whole gateway, which fails hundreds of times",
    },
    "engine/runners/test_cuda_graphs.py": {
        "pandagpt_core.engine.runners.torch_runner.fitting": "masks on a GPU, which takes a kernel that agrees",
    },
    "llm/attention/test_slots.py": {
        "pandagpt_core.llm.attention.slots.grouped_attention": "a layout in memory that only a GPU's kernels give",
    },
    "llm/test_pointwise.py": {
        "pandagpt_core.llm.torch_backend.products_dtype": "the element types of a GPU, computed on a CPU",
    },
    "media/video/test_seeking.py": {
        SEEK: "the same reader in order is what seeking is compared with",
    },
    "recipes/panda_mini/test_whole_build.py": {
        "recipes.panda_mini.stages.language.load_llama": "the real loader's result, read once for four loads",
    },
    "security/test_keys_and_heads.py": {
        "service.gateway.access.auth.hmac": "that every key is compared shows in nothing but time",
    },
    "test_autotune.py": {
        "pandagpt_core.autotune.*": "another processor and other versions of libraries than this machine's",
    },
    "test_cli.py": {
        "service.cli.COMMANDS": "a command that fails in each way; the real ones fail in few",
    },
    "test_doctor.py": {
        "service.commands.operate.doctor.CHECKS": "a check that sees what was printed before it",
    },
    "tracing/test_tracing.py": {
        "service.tracing.otel": "the import system's mark of a module whose library is not installed",
    },
}


def modules_by_name(tree: ast.AST) -> dict[str, str]:
    """Imported names with their full dotted names."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.asname or name.name: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return found


def dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    """The module, class or function of an expression; empty where it is a local value."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (before := dotted(node.value, names)):
        return f"{before}.{node.attr}"
    whole = ast.unparse(node)
    return names.get(whole, "")


def constant(node: ast.expr) -> str:
    """A string, or a star for one that is computed."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "*"


def patched(source: str) -> Iterator[str]:
    """Names inside of our packages that calls of `monkeypatch` and `unittest.mock.patch` replace."""
    tree = ast.parse(source)
    names = modules_by_name(tree)
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and call.args):
            continue
        written = ast.unparse(call.func).split(".")
        name = ".".join(written[-2:] if written[-2:-1] == ["patch"] else written[-1:])
        if name not in PATCHERS:
            continue
        first, *more = call.args
        if name in ("setitem", "delitem") and "modules" in ast.unparse(first):
            target = constant(more[0])
        elif isinstance(first, ast.Constant):
            target = constant(first)
        else:
            target = dotted(first, names)
            if target and name in ("setattr", "delattr", "patch.object"):
                target = f"{target}.{constant(more[0])}"
        if target.startswith(OURS):
            yield target


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from service.broker import keys\nmonkeypatch.setattr(keys, 'LIFE', 1)", ["service.broker.keys.LIFE"]),
        ("from service.cli import Command as C\nonce.setattr(C, name, 1)", ["service.cli.Command.*"]),
        ("import service.cli\nmonkeypatch.setattr(service.cli, 'x', 1)", ["service.cli.x"]),
        ("monkeypatch.setattr('recipes.build.main', 1)", ["recipes.build.main"]),
        ("with mock.patch('service.cli.main'): ...", ["service.cli.main"]),
        ("from service import cli\nwith patch.object(cli, 'main'): ...", ["service.cli.main"]),
        ("from service import cli\nmonkeypatch.setitem(cli.COMMANDS, 'x', 1)", ["service.cli.COMMANDS"]),
        ("monkeypatch.setitem(sys.modules, 'service.cli', None)", ["service.cli"]),
        ("import sys\nmonkeypatch.setattr(sys, 'argv', [])\nmonkeypatch.setenv('A', 'b')", []),
        ("made = Thing()\nmonkeypatch.setattr(made, 'x', 1)\nhttp.patch('/v1/models')", []),
    ],
)
def test_each_form_of_a_patch_is_found(source: str, found: list[str]) -> None:
    assert list(patched(source)) == found


def test_only_what_is_listed_is_replaced_inside_of_our_packages(root: Path) -> None:
    tests = root / "tests"
    sources = {str(file.relative_to(tests)): file.read_text(encoding="utf-8") for file in sorted(tests.rglob("*.py"))}
    found = {name: targets for name, source in sources.items() if (targets := set(patched(source)))}
    assert found == {name: set(reasons) for name, reasons in LEFT.items()}
