"""Type checks pass the benchmarks over: each module is loaded, so that a name that moved is missed here."""

import pkgutil
import subprocess
import sys

import benchmarks

CODE = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


def test_every_module_of_the_benchmarks_loads() -> None:
    found = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]
    names = [name for name in found if not name.endswith("__main__")]
    assert len(names) > 20
    command = [sys.executable, "-c", CODE, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
