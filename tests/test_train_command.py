"""`pandagpt train` and `pandagpt align`: a mistake is one plain line and status 2, before anything is computed."""

from pathlib import Path

import pytest

from service import cli


@pytest.mark.parametrize(
    ("command", "text", "told"),
    [
        ("train", None, "cannot read"),
        (
            "train",
            'model = "m"\nout = "o"\n[data]\nfiles = ["x"]\n[train]\nlr = -1.0\n',
            "run.toml: train.lr is -1.0; ",
        ),
        ("train", 'model = "m"\nout = "o"\n[data]\nfiles = ["x"]\n', "m is not a model folder"),
        ("align", 'model = "m"\nout = "o"\nmodality = "video"\n[pairs]\nfiles = ["x"]\n', "modality is 'video'; "),
    ],
)
def test_a_mistake_is_told_in_a_line(
    command: str, text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    if text is not None:
        file.write_text(text)
    assert cli.main([command, "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pandagpt: ")
    assert told in said


def test_a_negative_number_of_steps_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--config", "x.toml", "--stop-after", "-1"]) == 2
    assert "--stop-after is -1; expected at least 0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "align"])
def test_a_folder_with_a_run_is_gone_on_with_only_when_told_to(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = {"train": "[data]", "align": 'modality = "imu"\n[pairs]'}[command]
    (tmp_path / "run.toml").write_text(f'model = "m"\nout = "o"\n{of}\nfiles = ["x"]\n')
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n')
    words = [command, "--config", str(tmp_path / "run.toml")]
    assert cli.main(words) == 2
    assert "after 1 steps, before its first checkpoint; --resume begins it again" in capsys.readouterr().err
    assert cli.main([*words, "--resume"]) == 2
    assert "m is not a model folder" in capsys.readouterr().err
