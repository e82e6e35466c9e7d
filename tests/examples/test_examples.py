"""Every program of examples/ runs against a gateway whose model pretends."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.settings import StoreSettings
from tests.conftest import ROOT
from tests.contract import made
from tests.contract.conftest import running, settings_for, store  # noqa: F401  a fixture
from tests.fakes import FAKE_INFO, FakeRecogniser, FakeRuntime, worker_thread

EXAMPLES = ROOT / "examples"
LIBRARY = {"common.py"}


@pytest.fixture(scope="module")
def url(store: StoreSettings) -> Iterator[str]:  # noqa: F811  the fixture
    own = store.model_copy(update={"namespace": "examples"})
    with (
        worker_thread(own, FakeRuntime(info=replace(FAKE_INFO, id="panda-mini"))),
        running(settings_for(own)) as (a, _),
    ):
        yield a


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/dog.png").write_bytes(made.PNG)
    (tmp_path / "shelf/broken.jpg").write_bytes(b"no picture at all")
    (tmp_path / "bark.wav").write_bytes(made.sound("wav"))
    return tmp_path


def ran(name: str, url: str, *words: str, given: bytes = b"") -> tuple[int, str]:
    """Exit status and output of one program."""
    environment = {**os.environ, "PANDAGPT_CLIENT_URL": url}
    command = [sys.executable, str(EXAMPLES / name), *words]
    done = subprocess.run(command, input=given, capture_output=True, env=environment, timeout=60, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stdout.decode()


def test_a_folder_of_pictures_gets_captions_and_a_bad_file_its_reason(url: str, folder: Path) -> None:
    status, output = ran("caption_folder.py", url, str(folder / "shelf"))
    head, broken, dog = csv.reader(io.StringIO(output))
    assert (status, head) == (1, ["file", "caption", "error"])
    assert (Path(broken[0]).name, broken[1], bool(broken[2])) == ("broken.jpg", "", True)
    assert Path(dog[0]).name == "dog.png"
    assert dog[1].startswith("<image:")


def test_each_window_of_a_sound_has_a_line(url: str, folder: Path) -> None:
    status, output = ran("describe_sounds.py", url, str(folder / "bark.wav"), "--seconds", "0.5")
    starts = [float(line.split("\t")[1]) for line in output.splitlines()]
    assert status == 0
    assert starts == [0.5 * place for place in range(len(starts))]
    assert all("<audio:" in line for line in output.splitlines())


def test_voice_notes_of_phones_are_read_and_a_bad_file_gets_its_reason(url: str, folder: Path) -> None:
    (folder / "note.m4a").write_bytes(made.sound("m4a"))
    (folder / "broken.ogg").write_bytes(b"no sound at all")
    status, output = ran("describe_sounds.py", url, str(folder / "broken.ogg"), str(folder / "note.m4a"))
    assert status == 1
    [line] = output.splitlines()
    assert line.startswith(f"{folder / 'note.m4a'}\t0.0\t<audio:")


def test_voice_notes_become_their_words_and_a_bad_file_its_reason(
    store: StoreSettings,  # noqa: F811  the fixture
    folder: Path,
) -> None:
    own = store.model_copy(update={"namespace": "voice-notes"})
    (folder / "broken.ogg").write_bytes(b"no sound at all")
    with worker_thread(own, recogniser=FakeRecogniser()), running(settings_for(own)) as (url, _):
        files = [str(folder / "bark.wav"), str(folder / "broken.ogg")]
        status, output = ran("write_down.py", url, *files, "--language", "de")
    head, note, broken = csv.reader(io.StringIO(output))
    assert (status, head) == (1, ["file", "text", "error"])
    assert note == [files[0], "transcribe de 0 after 0.", ""]
    assert (broken[0], broken[1], bool(broken[2])) == (files[1], "", True)


def test_without_a_recogniser_each_voice_note_says_so(url: str, folder: Path) -> None:
    status, output = ran("write_down.py", url, str(folder / "bark.wav"))
    _, note = csv.reader(io.StringIO(output))
    assert (status, note[1]) == (1, "")
    assert "no model here writes down speech" in note[2]


@pytest.mark.parametrize("name", ["caption_folder.py", "describe_sounds.py"])
def test_a_program_without_its_service_ends_with_one_line(name: str, folder: Path) -> None:
    given = {"caption_folder.py": folder / "shelf", "describe_sounds.py": folder / "bark.wav"}
    status, output = ran(name, "http://127.0.0.1:9", str(given[name]))
    assert (status, output) == (1, "")


def test_the_microphones_windows_are_heard_but_for_silence(url: str) -> None:
    loud = (20_000 * np.sin(np.arange(16_000) / 5)).astype("<i2").tobytes()
    status, output = ran("watch_microphone.py", url, "--seconds", "1", given=loud + bytes(len(loud)))
    heard, silence = output.splitlines()
    assert status == 0
    assert heard.startswith("<audio:")
    assert silence == "(silence)"


def test_pictures_are_found_by_words_and_by_a_sound(url: str, folder: Path) -> None:
    (folder / "shelf/broken.jpg").unlink()
    for query in (["--words", "a dog"], ["--sound", str(folder / "bark.wav")]):
        status, output = ran("search_photos.py", url, str(folder / "shelf"), *query)
        assert status == 0
        assert re.fullmatch(r"[+-][01]\.\d{3}\t.*dog\.png\n", output)


def test_adding_and_taking_away_the_same_words_leaves_the_rest(url: str, folder: Path) -> None:
    terms = ["--plus", "text=a cat", "--plus", "text=a dog", "--minus", "text=a cat"]
    status, output = ran("add_media.py", url, *terms, "a", "cat,", "a", "dog")
    assert status == 0
    assert output.splitlines()[0] == "+1.000\ta dog"


def test_every_example_has_a_test_and_a_line_in_the_list() -> None:
    programs = {path.name for path in EXAMPLES.glob("*.py")} - LIBRARY
    tested = set(re.findall(r'ran\("(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))
    listed = set(re.findall(r"^\| \[(\w+\.py)\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert programs == tested == listed
