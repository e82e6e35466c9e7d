"""`pandagpt eval --task`: its arguments, and a whole run in process with the tiny MiniGPT-v2 of the vectors."""

import json
import shutil
from pathlib import Path

import pytest

from pandagpt_core.convert.minigpt_v2 import MiniGPTv2Options, MiniGPTv2Originals, convert_minigpt_v2
from pandagpt_core.encoders.eva_vit import EvaSizes
from service import cli


def test_files_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "--task", "gqa", "--model", str(tmp_path)]) == 2
    assert "--task needs --annotations FILE and --images FOLDER" in capsys.readouterr().err


def test_a_model_folder_is_examined_in_process(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = golden / "minigpt-v2-tiny"
    options = MiniGPTv2Options("tiny", EvaSizes(width=48, blocks=3, heads=4, mlp=209), lora_alpha=2.0)
    originals = MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tiny / "weights.safetensors")
    convert_minigpt_v2(originals, tmp_path / "model", options)
    shutil.copy(tiny / "media" / "office.jpg", tmp_path / "7.jpg")
    entries = {str(n): {"imageId": "7", "question": f"what is {n}?", "answer": "a dog"} for n in range(3)}
    (tmp_path / "gqa.json").write_text(json.dumps(entries))
    words = ["eval", "--task", "gqa", "--model", str(tmp_path / "model"), "--device", "cpu", "--limit", "2"]
    words += ["--annotations", str(tmp_path / "gqa.json"), "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert "# tiny on gqa" in capsys.readouterr().out
    answers = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [one["truth"] for one in answers] == ["a dog", "a dog"]
    assert all(one["answer"] for one in answers)
