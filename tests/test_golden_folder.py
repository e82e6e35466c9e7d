"""Another set of golden vectors of the same layout drops in by `GOLDEN=FOLDER`, without an edit of a test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file


@pytest.fixture
def other(golden: Path, tmp_path: Path) -> Path:
    """Fewer cases under other names, media under other names and in another place, one of them absent."""
    out = tmp_path / "another set"
    for part in ("imagebind-tiny", "pandagpt-tiny"):
        shutil.copytree(golden / part, out / part)
    (out / "pictures").mkdir()
    shutil.copy(golden / "preprocessing" / "media" / "car_image.jpg", out / "pictures" / "vehicle.jpg")
    tiny = out / "pandagpt-tiny"
    held = json.loads((tiny / "cases.json").read_text(encoding="utf-8"))
    renamed = {"image": "a_vehicle", "audio": "a_bark"}
    held["cases"] = {renamed[name]: case for name, case in held["cases"].items() if name in renamed}
    held["cases"]["a_vehicle"]["modalities"] = {"image": "../pictures/vehicle.jpg"}
    (tiny / "cases.json").write_text(json.dumps(held), encoding="utf-8")
    tensors = {
        f"{renamed[name.partition('/')[0]]}/{name.partition('/')[2]}": tensor.clone()
        for name, tensor in load_file(tiny / "cases.safetensors").items()
        if name.partition("/")[0] in renamed
    }
    save_file(tensors, tiny / "cases.safetensors")
    return out


def test_another_folder_of_vectors_runs_without_an_edit(root: Path, other: Path) -> None:
    asked = ["tests/parity/test_pandagpt.py", "tests/parity/test_preprocessing.py", "-k", "token_ids or pictures"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", *asked],
        cwd=root,
        env={**os.environ, "GOLDEN": str(other)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "token_ids[a_vehicle] PASSED" in ran.stdout
    assert "token_ids[a_bark] SKIPPED" in ran.stdout
    assert "no medium dog_audio.wav among these vectors" in ran.stdout
    assert "no cases of images in preprocessing" in ran.stdout
