"""The wheel holds all that serves: built, installed into an environment of its own, started from another folder.

The packages that it depends on are those of this environment, by a path file, so that nothing is downloaded.
"""

import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.local import ports
from tests.conftest import ROOT

START_S = 240.0
pytestmark = pytest.mark.timeout(500)  # a build, an environment and a start of the service


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `python -m build --wheel` makes of the tracked files."""
    pytest.importorskip("build")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("service", "pandagpt_core"):
        copy(ROOT / name, tree / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tree / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [made] = out.glob("*.whl")
    return made


def clean() -> dict[str, str]:
    """The environment without variables that point Python or the service elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PANDAGPT_", "PYTHON"))}


def copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and this one's packages without the project itself."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=100)
    [packages] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def url(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (ROOT / "models/panda-mini/config.json").is_file():
        pytest.skip("models/panda-mini is not in this checkout")
    port, folder = ports.choose("127.0.0.1", 0), tmp_path_factory.mktemp("elsewhere")
    words = ["-m", "service.cli", "serve", "--port", str(port), "--model", str(ROOT / "models/panda-mini")]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [environment / "bin/python", *words], cwd=folder, env=clean(), stdout=output, stderr=output
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process, folder / "output.txt")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(address: str, process: subprocess.Popen[bytes], output: Path) -> None:
    limit = time.monotonic() + START_S
    while True:
        assert process.poll() is None, output.read_text(encoding="utf-8", errors="replace")[-2000:]
        assert time.monotonic() < limit, output.read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            if httpx.get(f"{address}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)


def test_the_project_in_the_environment_is_the_wheels(environment: Path, tmp_path: Path) -> None:
    code = "import service, pandagpt_core; print(service.__file__, pandagpt_core.__file__)"
    command = [environment / "bin/python", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=clean(), capture_output=True, text=True, check=True, timeout=60)
    places = done.stdout.split()
    assert all(place.startswith(str(environment)) for place in places)


def test_the_wheel_serves_answers_the_page_and_the_interface(url: str) -> None:
    with httpx.Client(base_url=url, timeout=100, trust_env=False) as http:
        picture = (ROOT / "samples/dog.png").read_bytes()
        answer = http.post("/v1/generate", data={"prompt": "What is this?"}, files={"image": ("dog.png", picture)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"].strip()
        assert http.get("/").text.startswith("<!doctype html>")
        assert http.get("/openapi.json").json()["info"]["title"] == "PandaGPT"
