"""`pandagpt serve --model NAME`: a folder, a model of the repository, or one that is fetched first."""

from pathlib import Path

import pytest

from service.local.named_models import FETCHED, fetch_in_child, model_folder
from service.settings import SettingsError


def never(name: str, folder: Path) -> None:
    raise AssertionError(f"{name} was fetched")


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_itself_and_a_name_of_the_repository_its_folder(tmp_path: Path) -> None:
    make(Path("models/panda-mini"))
    assert model_folder(Path("panda-mini"), never) == Path("models/panda-mini")
    assert model_folder(Path("models/panda-mini"), never) == Path("models/panda-mini")
    assert model_folder(make(tmp_path / "mine"), never) == tmp_path / "mine"


def test_a_fetched_model_is_fetched_once() -> None:
    fetched: list[str] = []

    def fetch(name: str, folder: Path) -> None:
        fetched.append(name)
        make(folder)

    folders = {model_folder(Path("panda-small"), fetch) for _ in range(2)}
    assert (folders, fetched) == ({FETCHED["panda-small"]}, ["panda-small"])


def test_a_name_of_nothing_is_left_to_the_check_of_folders() -> None:
    assert model_folder(Path("panda-huge"), never) == Path("panda-huge")
    assert model_folder(Path("elsewhere/panda-small"), never) == Path("elsewhere/panda-small")


def test_what_cannot_be_fetched_is_a_fault_of_the_setting(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".cache/models").mkdir(parents=True)
    (tmp_path / ".cache/models/panda-small.download").write_text("in the way")  # before anything is downloaded
    with pytest.raises(SettingsError, match="panda-small cannot be had"):
        fetch_in_child("panda-small", FETCHED["panda-small"])
