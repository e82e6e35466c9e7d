"""A real Chromium before a real gateway. Skipped with the reason where either is absent.

Browser, browser context and gateway are those of the whole folder. A test's tab is its own, and so is its session
storage; its worker is its own, before an empty store.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from service.gateway.state import GatewayState
from tests.conftest import Valkey
from tests.fakes import FakeRuntime, WorkerThread, worker_thread
from tests.gateway.conftest import make_settings, serving, start_gateway  # noqa: F401  a fixture
from tests.web.group import Group

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
    # Tabs of one site share a process, so that a test does not start one; none is started ahead either.
    "--process-per-site",
    "--disable-features=SpareRendererForSitePerProcess",
    "--host-resolver-rules=MAP panda.test 127.0.0.1",  # the same service as from another machine: no secure context
]


@dataclass
class Seen:
    """Faults of a page: console errors, and addresses of other hosts."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


GROUP = pytest.StashKey[Group]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """While the browser is open, Playwright's loop runs in this thread, and no asynchronous test can."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _group(item.config).close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the group of a run that ends before its last test."""
    _group(session.config).close()


def _group(config: pytest.Config) -> Group:
    return config.stash.setdefault(GROUP, Group())


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> "Browser":
    found: Browser = _group(request.config).once("browser", _chromium)
    return found


@contextmanager
def _chromium() -> "Iterator[Browser]":
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def browser_context(
    request: pytest.FixtureRequest, browser: "Browser", shared_gateway: tuple[str, GatewayState]
) -> "Iterator[BrowserContext]":
    """The context of the group; a test that changes the context itself would change it for the next."""
    url = shared_gateway[0]
    context: BrowserContext = _group(request.config).once("context", lambda: _context(browser, url))
    first, *_ = context.pages
    yield context
    for tab in context.pages:
        if tab is not first:
            tab.close()


@contextmanager
def _context(browser: "Browser", url: str) -> "Iterator[BrowserContext]":
    """With a tab of the site, in whose process the later tabs run."""
    context = browser.new_context(permissions=list(PERMISSIONS))
    context.set_default_timeout(30_000)
    context.new_page().goto(f"{url}/version")
    yield context
    context.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def tab(browser_context: "BrowserContext", url: str, seen: Seen) -> "Iterator[Page]":
    """Blank. At the end of the test it has logged no error and has asked no other host."""
    tab = browser_context.new_page()
    watch(tab, url, seen)
    yield tab
    assert not seen.errors
    assert not seen.elsewhere


@pytest.fixture
def page(tab: "Page", url: str) -> "Page":
    """The page, opened in the tab."""
    tab.goto(url)
    return tab


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
def shared_gateway(request: pytest.FixtureRequest, _valkey_server: Valkey) -> tuple[str, GatewayState]:
    found: tuple[str, GatewayState] = _group(request.config).once(
        "gateway", lambda: serving(make_settings(_valkey_server))
    )
    return found


@pytest.fixture
def url(shared_gateway: tuple[str, GatewayState], worker: WorkerThread) -> str:
    """The shared gateway, with a worker behind it."""
    return shared_gateway[0]
