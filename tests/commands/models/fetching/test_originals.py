"""The table of originals: addresses of its authors by https, and paths that stay below the folder of downloads."""

from pathlib import PurePosixPath

import pytest

from service.commands.models.fetching.originals import SYSTEMS, Original, Summed, originals

ALL = [one for system in SYSTEMS.values() for one in originals(system)]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.path)
def test_an_original_is_published_by_https_under_its_own_name(one: Original) -> None:
    assert one.page.startswith("https://")
    assert one.licence.page.startswith("https://")
    if one.url is not None:
        assert one.url.startswith("https://")
        assert one.layout is not None or one.url.rpartition("/")[2] == one.path.rpartition("/")[2]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.path)
def test_its_files_stay_below_the_folder_of_downloads(one: Original) -> None:
    layout = one.layout
    names = () if layout is None else (layout.mark, *layout.texts, *layout.indexes, *layout.singles)
    for path in (one.path, *names):
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts


def test_a_path_stands_for_one_original() -> None:
    for path in {one.path for one in ALL}:
        assert len({one for one in ALL if one.path == path}) == 1


def test_of_a_sum_both_parts_are_needed_and_not_the_whole() -> None:
    part = SYSTEMS["pandagpt-7b"].parts["llm"]
    assert isinstance(part, Summed)
    found = originals(SYSTEMS["pandagpt-7b"])
    assert {part.base, part.delta} <= set(found)
    assert part.whole not in found
