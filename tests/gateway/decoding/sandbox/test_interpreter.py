"""Python code behind the lock: no module from a file, no call of the operating system; what is loaded works on."""

import pytest

from tests.gateway.decoding.sandbox.processes import restricted

TRIES = {
    "import": ('__import__("wsgiref")', "ModuleNotFoundError"),
    "open": ('open("/etc/hostname")', "PermissionError"),
    "list": ('os.listdir("/")', "PermissionError"),
    "environment": ('os.putenv("A", "b")', "PermissionError"),
}


@pytest.mark.parametrize("what", TRIES)
def test_python_code_gets_an_exception(what: str) -> None:
    call, error = TRIES[what]
    assert restricted("interpreter.refuse_the_system()", f"outcome(lambda: {call})") == error


def test_what_is_loaded_already_works_on() -> None:
    assert restricted("interpreter.refuse_the_system()", "json.loads('[1, 2]')") == [1, 2]
