"""Time to open the page: a browser of its own before the service as it is served by default, on loopback.

    python -m benchmarks.page_opening [--quick] [--rounds 20] [--url http://127.0.0.1:8000] [--label before]

Each opening has a fresh context: no cache, no session. `again` opens the page once more in the same context, as a
person who comes back. Times are milliseconds from the begin of the navigation, by the browser's own clock:

- first paint: first contentful paint;
- load: the end of the load event;
- usable: the text field is there and takes words.

It needs Playwright and a Chromium (Debian: chromium); without either it prints that and measures nothing.
"""

import importlib
import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants.field import as_served
from benchmarks.lib import machine, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import BenchmarkOptions, options, parser
from benchmarks.lib.procs import Watch, tree

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
TIMES = ("first_paint", "load", "usable")
ENDS = (("median", statistics.median), ("least", min), ("most", max))
COLUMNS = (
    report.Column("opening", "opening"),
    *(report.Column(f"{name}_{end}", f"{name.replace('_', ' ')}, {end} (ms)", 0) for name in TIMES for end, _ in ENDS),
    report.Column("requests", "requests", 0),
    report.Column("kilobytes", "transferred (kB)", 1),
)
# The text field may be there before this script is; else a watcher of the document's changes sees it in its own turn.
WATCH = """() => new Promise((resolve) => {
    const usable = () => document.querySelector('textarea[aria-label="Your message"]:enabled');
    const done = () => resolve(performance.now());
    if (window.usableAt) return resolve(window.usableAt);
    if (usable()) return done();
    new MutationObserver((_, watch) => usable() && (watch.disconnect(), done()))
        .observe(document, { subtree: true, childList: true, attributes: true });
})"""
EARLY = """(() => {
    const usable = () => document.querySelector('textarea[aria-label="Your message"]:enabled');
    new MutationObserver((_, watch) => {
        if (!usable()) return;
        watch.disconnect();
        window.usableAt = performance.now();
    }).observe(document, { subtree: true, childList: true, attributes: true });
})()"""
READ = """() => {
    const [page] = performance.getEntriesByType("navigation");
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const all = [page, ...performance.getEntriesByType("resource")];
    return { first_paint: paint?.startTime, load: page.loadEventEnd, requests: all.length,
             kilobytes: all.reduce((sum, one) => sum + one.transferSize, 0) / 1000 };
}"""


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    arguments.add_argument("--url", help="of a service that runs already")
    arguments.add_argument("--label", default="", help="a word for the result's name, as before")
    parsed = arguments.parse_args()
    given, facts = options(parsed), machine.facts()
    reason = absent()
    with running(parsed.url, parsed.model, given) as (url, pids):
        watch = Watch(lambda: [*browser_pids(), *pids()], machine.cores())
        rows = [] if reason else measured(url, given.rounds or (3 if given.quick else 20))
        others = watch.others()
    notes = [
        f"{len(rows) and rows[0]['count']} openings of each kind, one at a time, after one that does not count.",
        report.quietness([None if parsed.url else others]),
    ]
    name = "page_opening" + (f"_{parsed.label}" if parsed.label else "")
    missing = {"Chromium": reason} if reason else {}
    made = report.BenchmarkReport(name, "Opening the page", COLUMNS, rows, notes, missing)
    report.publish(made, facts, (given.out or report.folder(facts)) if given.save else None)
    return 0


def absent() -> str:
    """The reason why nothing can be measured here; empty where it can."""
    if not any(map(shutil.which, PROGRAMS)):
        return "no Chromium on this machine (Debian: apt-get install chromium)"
    try:
        importlib.import_module("playwright.sync_api")
    except ImportError:
        return "no Playwright (pip install playwright)"
    return ""


@contextmanager
def running(url: str | None, model: Path, given: BenchmarkOptions) -> Iterator[tuple[str, Any]]:
    """The address of a service, and what gives the ids of its processes."""
    if url:
        yield url, list
        return
    service = as_served(model, given)
    service.start()
    try:
        yield f"http://127.0.0.1:{service.port}", service.pids
    finally:
        service.stop()


def browser_pids() -> list[int]:
    """The browser's processes descend from this one."""
    return tree(os.getpid())[1:]


def measured(url: str, rounds: int) -> list[report.Row]:
    sync_api = importlib.import_module("playwright.sync_api")
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        pairs = [both(browser, url) for _ in range(rounds + 1)][1:]
        browser.close()
    return [summary("fresh", [fresh for fresh, _ in pairs]), summary("again", [again for _, again in pairs])]


def both(browser: "Browser", url: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
    context = browser.new_context()
    context.add_init_script(EARLY)
    try:
        return opened(context, url), opened(context, url)
    finally:
        context.close()


def opened(context: "BrowserContext", url: str) -> Mapping[str, float]:
    """Milliseconds of TIMES, requests, kilobytes of one opening."""
    tab = context.new_page()
    tab.goto(url, wait_until="load")
    usable = tab.evaluate(WATCH)
    tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    times: dict[str, float] = {**tab.evaluate(READ), "usable": usable}
    tab.close()
    return times


def summary(opening: str, all_times: Sequence[Mapping[str, float]]) -> report.Row:
    found: dict[str, report.Value] = {"opening": opening, "count": len(all_times)}
    for name in TIMES:
        found |= {f"{name}_{end}": reduce(each[name] for each in all_times) for end, reduce in ENDS}
    return found | {name: statistics.median(each[name] for each in all_times) for name in ("requests", "kilobytes")}


if __name__ == "__main__":
    sys.exit(main())
