"""A real Chromium before a real gateway. Skipped with the reason where either is absent."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from service.gateway.state import GatewayState
from tests.fakes import FakeRuntime, WorkerThread, worker_thread
from tests.gateway.conftest import gateway_settings, shared_gateway, start_gateway  # noqa: F401  fixtures

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PERMISSIONS = ("camera", "microphone", "accelerometer", "gyroscope", "clipboard-read", "clipboard-write")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP panda.test 127.0.0.1",  # the same service as from another machine: no secure context
]


@dataclass
class Seen:
    """What a page did that it should not: console errors, and addresses of other hosts."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One a file: while it is open, Playwright's loop runs in this thread, and no asynchronous test can."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def browser_context(browser: "Browser") -> "Iterator[BrowserContext]":
    context = browser.new_context(permissions=list(PERMISSIONS))
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(browser_context: "BrowserContext", url: str, seen: Seen) -> "Iterator[Page]":
    """The page, opened. At the end of the test it has logged no error and has asked no other host."""
    tab = browser_context.new_page()
    watch(tab, url, seen)
    tab.goto(url)
    yield tab
    assert not seen.errors
    assert not seen.elsewhere


def watch(tab: "Page", url: str, seen: Seen) -> None:
    host = urlsplit(url).netloc
    tab.on("console", lambda message: seen.errors.append(message.text) if complains(message) else None)
    tab.on("pageerror", lambda error: seen.errors.append(str(error)))
    tab.on("request", lambda request: seen.elsewhere.append(request.url) if elsewhere(request.url, host) else None)


def complains(message: "ConsoleMessage") -> bool:
    """An error, but not the browser's own line about a 400: the page shows that refusal as a sentence."""
    return message.type == "error" and "status of 400" not in message.text


def elsewhere(address: str, host: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme.startswith("http") and parts.netloc != host


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def worker(valkey: object, runtime: FakeRuntime) -> Iterator[WorkerThread]:
    with worker_thread(valkey.settings, runtime, lost_after_s=15.0) as worker:
        yield worker


@pytest.fixture
def url(shared_gateway: tuple[str, GatewayState], worker: WorkerThread) -> str:  # noqa: F811
    """The shared gateway, with a worker behind it."""
    return shared_gateway[0]
