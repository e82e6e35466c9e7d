"""A process of a test's own, which may give up what the process of the tests still needs."""

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.conftest import ROOT

HEAD = """
import json, os, sys
from service.gateway.decoding.sandbox import interpreter, landlock, libc, limits, lock, namespaces, privileges, seccomp
def outcome(call):
    try:
        return call()
    except (ImportError, OSError, MemoryError) as error:
        return type(error).__name__
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    """The end of a process that ran the code after `HEAD`."""
    whole = HEAD + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", whole], cwd=ROOT, capture_output=True, text=True, check=False)


def printed(code: str) -> Any:
    """The JSON that the code prints. Skips where it prints nothing but "absent": the system lacks the layer."""
    done = ended(code)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if found == "absent":
        pytest.skip("this system does not offer the layer")
    return found


def restricted(step: str, tries: str) -> Any:
    """Value of `tries` (an expression) after `step` (a statement)."""
    absent, found = "print(json.dumps('absent'))", f"print(json.dumps({tries}))"
    return printed(f"try:\n    {step}\nexcept OSError:\n    {absent}\nelse:\n    {found}\n")
