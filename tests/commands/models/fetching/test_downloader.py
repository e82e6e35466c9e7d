"""One fetch at a time for a folder of downloads."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.commands.models.fetching.downloader import locked
from service.settings import SettingsError
from tests.conftest import ROOT


def test_a_second_fetch_of_the_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    with locked(downloads):
        with pytest.raises(SettingsError, match="another `pandagpt fetch` uses"), locked(downloads):
            raise AssertionError
        with locked(tmp_path / "others"):
            pass
    with locked(downloads):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from service.commands.models.fetching.downloader import locked
with locked(pathlib.Path({str(tmp_path)!r})):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    with locked(tmp_path):
        pass
