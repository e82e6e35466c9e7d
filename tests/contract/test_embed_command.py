"""`pandagpt embed` against the running service."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import cli
from service.commands.client.embed import BATCH
from tests.contract import made


def lines(capsys: pytest.CaptureFixture[str], url: str, *words: str) -> list[dict[str, Any]]:
    assert cli.main(["embed", "--url", url, *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def _in_a_folder_with_media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a dog.png").write_bytes(made.PNG)
    Path("bark.wav").write_bytes(made.sound("wav"))
    Path("room.png").write_bytes(made.grey("png"))


def test_words_and_files_become_unit_vectors_a_line_each(capsys: pytest.CaptureFixture[str], url: str) -> None:
    told = lines(capsys, url, "a dog", "@a dog.png", "@bark.wav", "depth=room.png unit=relative")
    assert [line["input"] for line in told] == ["a dog", "@a dog.png", "@bark.wav", "depth=room.png unit=relative"]
    assert np.linalg.norm([line["embedding"] for line in told], axis=1) == pytest.approx([1] * 4, abs=1e-5)


def test_against_gives_similarities_best_first(capsys: pytest.CaptureFixture[str], url: str) -> None:
    (told,) = lines(capsys, url, "@a dog.png", "--against", "a cat", "image='a dog.png'", "@bark.wav")
    assert "embedding" not in told
    found = told["similarities"]
    assert found[0] == {"against": "image='a dog.png'", "similarity": pytest.approx(1, abs=1e-5)}
    assert [one["similarity"] for one in found] == sorted((one["similarity"] for one in found), reverse=True)


def test_more_items_than_one_request_takes_are_sent_in_several(capsys: pytest.CaptureFixture[str], url: str) -> None:
    told = lines(capsys, url, *(f"word {number}" for number in range(BATCH + 3)))
    assert len({tuple(line["embedding"]) for line in told}) == BATCH + 3


@pytest.mark.parametrize(
    ("words", "reason", "status"),
    [
        (["@none.png"], "cannot read none.png", 2),
        (["@room.what"], "its name does not tell what it is", 2),
        (["image=bark.wav"], "invalid_media", 1),
        (["x", "--model", "nobody"], "model_not_found", 1),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], url: str, words: list[str], reason: str, status: int
) -> None:
    assert cli.main(["embed", "--url", url, *words]) == status
    assert reason in capsys.readouterr().err


def test_nobody_there_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["embed", "--url", "http://127.0.0.1:9", "x"]) == 1
    assert "pandagpt serve" in capsys.readouterr().err
