"""Threat: a path in the address of a page's file read any file of the server (Gradio CVE-2023-51449, CVE-2024-1561).

Measure: the page's files, the samples and the site are read once, at the start, into a table by name; a request looks
its name up there and opens nothing.
"""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.gateway.state import GatewayState
from tests.security.beside import send

ROOTS = ("/page/", "/page/samples/", "/docs/guide/")
FILE = "secret.txt"
CLIMBS = (
    *("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..\\", "....//", "./../", "..;/", "%252e%252e%252f", "..%00/"),
    *("/", "//", "%2f", "file://"),
)


@pytest.fixture
def gateway(tmp_path: Path, start_gateway: Callable[..., tuple[str, GatewayState]]) -> tuple[str, Path]:
    """A gateway with a site, and a file beside the site's folder."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<h1>Guide</h1>")
    (tmp_path / FILE).write_text("not for callers")
    url, _ = start_gateway(guide=tmp_path / "site")
    return url, tmp_path


@pytest.mark.parametrize("root", ROOTS)
async def test_no_path_leads_out_of_the_table_of_files(gateway: tuple[str, Path], root: str) -> None:
    url, folder = gateway
    port = urlsplit(url).port or 0
    targets = [f"{root}{climb * times}{FILE}" for climb in CLIMBS for times in (1, 2, 8)]
    targets += [f"{root}{climb}{folder / FILE}" for climb in CLIMBS]
    for target in targets:
        answer = await send(port, [f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()])
        assert answer.split(b" ", 2)[1] in (b"307", b"308", b"400", b"404"), target
        assert b"not for callers" not in answer
