"""Processes of one parallel run are given different ports, and no server in a test looks for one by itself."""

import ast
import socket
from itertools import combinations
from pathlib import Path

from tests.ports import FIRST, LAST, WORKERS, free_port, slice_of


def test_no_two_processes_of_a_run_are_given_one_port() -> None:
    slices = [set(slice_of(name)) for name in ("", *(f"gw{number}" for number in range(WORKERS - 1)))]
    assert all(ports and min(ports) >= FIRST and max(ports) < LAST for ports in slices)
    assert not any(one & other for one, other in combinations(slices, 2))


def test_a_port_in_use_is_not_given() -> None:
    first = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        given = [free_port() for _ in range(len(slice_of("gw0")))]
    assert first not in given
    assert len(set(given)) > 1


def test_every_server_of_a_store_is_given_its_port(root: Path) -> None:
    """The library's own search begins at one number in each process: two at a time find the same port."""
    without = [
        f"{file.relative_to(root)}:{node.lineno}"
        for folder in ("tests", "benchmarks")
        for file in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "ValkeyServer"
        and not any(keyword.arg == "port" and ast.unparse(keyword.value) != "None" for keyword in node.keywords)
    ]
    assert not without
