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
