"""A modality that another package adds by one entry: over HTTP, by both doors, with no other change."""

import json
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """A Python that has all that this one has, and the package `smell`, which registers a modality."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(tmp_path / "env")
    packages = next((tmp_path / "env/lib").glob("python3*")) / "site-packages"
    ours = [f"import site; site.addsitedir({folder!r})" for folder in site.getsitepackages()]
    (packages / "ours.pth").write_text("\n".join([*ours, str(ROOT)]) + "\n")
    for name in ("smell.py", "smell_entry.py"):
        shutil.copy(HERE / name, packages)
    about = packages / "smell-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: smell\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[pandagpt.modalities]\nsmell = smell_entry:ENTRY\n")
    return tmp_path / "env/bin/python"


def test_an_invented_modality_is_sent_over_http(interpreter: Path, tmp_path: Path, valkey: object) -> None:
    (tmp_path / "rose.bin").write_bytes(b"rose")
    visit = [interpreter, "-m", "tests.modalities.visit", valkey.url, tmp_path]
    done = subprocess.run(visit, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["chat"]["usage"]["prompt_tokens_details"]["smell_items"] == 1
    assert said["form"]["usage"]["prompt_tokens_details"]["smell_items"] == 2
    assert said["form"]["choices"][0]["message"]["content"].count("<smell:") == 2
    assert len(said["embedding"]["data"][0]["embedding"]) == 8
    assert said["short"]["error"]["code"] == "invalid_media"
    assert said["short"]["error"]["param"] == "smell"
    assert said["strong"]["error"]["param"] == "smell_strength"
    assert "smell" in said["models"]["data"][0]["input_modalities"]
    assert {"SmellPart", "SmellParams"} <= set(said["interface"]["components"]["schemas"])


def test_what_is_not_an_entry_is_refused_by_name(interpreter: Path) -> None:
    points = next(interpreter.parents[1].glob("lib/python3*/site-packages/smell-1.0.dist-info")) / "entry_points.txt"
    points.write_text("[pandagpt.modalities]\nsmell = smell_entry:Number\n")
    tried = [interpreter, "-c", "import pandagpt_core.types"]
    done = subprocess.run(tried, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "the entry point 'smell' of pandagpt.modalities names no new modality" in done.stderr
    assert sys.executable != str(interpreter)
