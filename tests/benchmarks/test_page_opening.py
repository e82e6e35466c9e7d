"""The benchmark of the page's opening: it opens a page and prints its times."""

from pathlib import Path

import pytest

from benchmarks import page_opening


def test_a_summary_has_median_least_and_most_of_each_time() -> None:
    times = [{"first_paint": at, "load": 10 * at, "usable": 20 * at, "requests": 3, "kilobytes": 9} for at in (2, 1, 6)]
    row = page_opening.summary("fresh", times)
    assert (row["first_paint_median"], row["load_least"], row["usable_most"]) == (2, 10, 120)
    assert (row["opening"], row["count"], row["requests"]) == ("fresh", 3, 3)
    assert {column.key for column in page_opening.COLUMNS} <= set(row)


def test_a_page_is_opened_and_its_text_field_is_seen(tmp_path: Path) -> None:
    if reason := page_opening.absent():
        pytest.skip(reason)
    page = tmp_path / "page.html"
    page.write_text(
        """<p>Words</p><script>setTimeout(() => {
        document.body.innerHTML += '<textarea aria-label="Your message"></textarea>'; }, 50)</script>"""
    )
    fresh, again = page_opening.measured(page.as_uri(), 1)
    assert fresh["usable_median"] > 50
    assert again["count"] == 1
