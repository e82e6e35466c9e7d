"""Acts of a person in the page, and the page's views after them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response


def ask(page: "Page", words: str) -> None:
    page.get_by_label("Your message").fill(words)
    page.get_by_role("button", name="Ask", exact=True).click()


def answer(page: "Page") -> str:
    """The last answer, once it has ended well."""
    last = page.locator("article.answer").last
    last.locator(".figures").wait_for()
    assert last.get_attribute("data-state") == "done"
    return last.locator(".text").inner_text()


def resumed(response: "Response") -> bool:
    """The rest of an answer."""
    return response.ok and response.url.endswith("/events")


def sample(name: str) -> bytes:
    return (Path(__file__).parents[2] / "samples" / name).read_bytes()


FILES = "input[type=file]"


def attach(page: "Page", *names: str) -> None:
    page.locator(FILES).first.set_input_files([str(Path(__file__).parents[2] / "samples" / name) for name in names])


def example(page: "Page", name: str) -> None:
    page.locator("summary", has_text="Examples").click()
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(".composer .card", has_text=name).wait_for()


def pictures(page: "Page", *names: str) -> None:
    files = [{"name": name, "mimeType": "image/png", "buffer": sample("dog.png")} for name in names]
    page.locator(FILES).first.set_input_files(files)


def done(page: "Page") -> None:
    page.locator("article.answer[data-state=done]").last.wait_for()
