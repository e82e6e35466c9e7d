"""The example configurations of deploy/proxies, started on free ports before gateways of a test."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.programs import answers, program, running
from tests.ports import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "proxies"


@dataclass(frozen=True)
class Proxy:
    """`command` starts it with its configuration at the path that it is given."""

    name: str
    package: str
    file: str
    command: Callable[[str, Path], list[str]]


PROXIES = (
    Proxy("nginx", "nginx-light", "nginx.conf", lambda binary, at: [binary, "-c", str(at), "-e", "stderr"]),
    Proxy("haproxy", "haproxy", "haproxy.cfg", lambda binary, at: [binary, "-db", "-f", str(at)]),
    Proxy("caddy", "caddy", "Caddyfile", lambda binary, at: [binary, "run", "--config", str(at)]),
)  # fmt: skip


@contextmanager
def proxied(proxy: Proxy, gateways: Sequence[int], folder: Path) -> Iterator[str]:
    """The proxy's address before gateways on these ports: two, as the examples have them."""
    binary, port = program(proxy.name, proxy.package), free_port()
    text = (FOLDER / proxy.file).read_text(encoding="utf-8")
    for old, new in (("8001", gateways[0]), ("8002", gateways[1]), ("8080", port)):
        text, count = re.subn(rf"(?<=:){old}\b|(?<=listen ){old}\b", str(new), text)
        assert count, f"{proxy.file} names no port {old}"
    if proxy.name == "nginx":  # as an unprivileged user's process: in the foreground, files in its folder
        text = f"daemon off; pid {folder}/nginx.pid;\n" + text.replace("http {", "http { access_log off;", 1)
    at = folder / proxy.file
    at.write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    with running(proxy.command(binary, at), folder / f"{proxy.name}.log", lambda: answers(f"{url}/health/live")):
        yield url
