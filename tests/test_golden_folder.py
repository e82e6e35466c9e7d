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


@pytest.fixture
def others(golden: Path, tmp_path: Path) -> Path:
    """Of MiniGPT-v2 one chat about a picture of another name, of ImageBind-LLM a search by another name."""
    out = tmp_path / "another set"
    for part in ("imagebind-tiny", "minigpt-v2-tiny", "imagebind-llm-tiny"):
        shutil.copytree(golden / part, out / part)
    tiny = out / "minigpt-v2-tiny"
    (tiny / "media" / "office.jpg").rename(tiny / "media" / "a room.jpg")
    held = json.loads((tiny / "cases.json").read_text(encoding="utf-8"))
    held["chat"] = {"about_a_room": held["chat"]["vqa"]}
    held["preprocess"] = {"a room.jpg": {**held["preprocess"]["office.jpg"], "path": "media/a room.jpg"}}
    (tiny / "cases.json").write_text(json.dumps(held), encoding="utf-8")
    rename(tiny / "cases.safetensors", {"office.jpg": "a room.jpg", "chat/vqa/": "chat/about_a_room/"})
    bind = out / "imagebind-llm-tiny"
    held = json.loads((bind / "cases.json").read_text(encoding="utf-8"))
    held["combos"] = {"a_picture": held["combos"]["image"], "both": held["combos"]["image_audio"]}
    held["generate"] = {"answered": held["generate"]["image_audio_knn"]}
    (bind / "cases.json").write_text(json.dumps(held), encoding="utf-8")
    rename(bind / "cases.safetensors", {"/image_audio_c4": "/both_c4", "knn/image/": "knn/a_picture/"})
    return out


def rename(file: Path, names: dict[str, str]) -> None:
    """Replace parts of the tensors' names."""
    tensors = {}
    for name, tensor in load_file(file).items():
        for old, new in names.items():
            name = name.replace(old, new)
        tensors[name] = tensor.clone()
    save_file(tensors, file)


def run_parity(root: Path, vectors: Path, *asked: str) -> str:
    """Pytest's output for tests of parity with other vectors."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", *asked],
        cwd=root,
        env={**os.environ, "GOLDEN": str(vectors)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    return ran.stdout


def test_another_folder_of_vectors_runs_without_an_edit(root: Path, other: Path) -> None:
    files = ("tests/parity/test_pandagpt.py", "tests/parity/test_preprocessing.py")
    printed = run_parity(root, other, *files, "-k", "token_ids or pictures")
    assert "token_ids[a_vehicle] PASSED" in printed
    assert "token_ids[a_bark] SKIPPED" in printed
    assert "no medium dog_audio.wav among these vectors" in printed
    assert "no cases of images in preprocessing" in printed


def test_another_folder_of_both_other_systems_runs_without_an_edit(root: Path, others: Path) -> None:
    files = [f"tests/parity/test_{name}.py" for name in ("eva_vit", "minigpt_v2", "imagebind_llm")]
    of_tests = "a_file or a_picture_becomes or token_ids or as_a_field or options or retrieved or tokenised"
    printed = run_parity(root, others, *files, "-k", of_tests)
    assert "a_file_becomes_the_rows_of_the_original[a room.jpg] PASSED" in printed
    assert "same_token_ids[about_a_room] PASSED" in printed
    assert "that_its_identifier_writes[about_a_room] PASSED" in printed
    assert "the_caches_options_are_a_requests[both_c4_t5_w0p9] PASSED" in printed
    assert "retrieved_are_told_when_asked[a_picture] PASSED" in printed
    assert "as_the_original_does[answered] PASSED" in printed
