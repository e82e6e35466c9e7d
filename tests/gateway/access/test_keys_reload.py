"""API keys follow their file, by its change and by SIGHUP; a broken file changes nothing."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.gateway.access.auth import KeyRing, read_keys
from service.gateway.access.keys_reload import KeysFile
from service.gateway.errors import GatewayError
from tests.wire import until


def line(key: str) -> str:
    return f"{key} {hashlib.sha256(key.encode()).hexdigest()} user\n"


def takes(ring: KeyRing, key: str) -> bool:
    try:
        return ring.find({"authorization": f"Bearer {key}"}).name == key
    except GatewayError:
        return False


@asynccontextmanager
async def followed(file: Path, look_s: float) -> AsyncIterator[KeyRing]:
    ring = KeyRing(read_keys(file))
    task = asyncio.create_task(KeysFile(file, ring).follow(look_s))
    await asyncio.sleep(0)
    try:
        yield ring
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.write_text(line("alice"))
    return made


async def test_a_changed_file_gives_new_keys_and_takes_old_ones_away(file: Path) -> None:
    async with followed(file, look_s=0.02) as ring:
        assert takes(ring, "alice")
        file.write_text(line("bob"))
        await until(lambda: takes(ring, "bob"))
        assert not takes(ring, "alice")


async def test_a_link_that_points_elsewhere_counts_as_a_change(tmp_path: Path, file: Path) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    other.write_text(line("bob"))
    link.symlink_to(file)
    async with followed(link, look_s=0.02) as ring:
        (tmp_path / "next").symlink_to(other)
        (tmp_path / "next").rename(link)
        await until(lambda: takes(ring, "bob"))


async def test_sighup_reads_it_again_at_once(file: Path) -> None:
    async with followed(file, look_s=600.0) as ring:
        file.write_text(line("bob"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: takes(ring, "bob"))


@pytest.mark.parametrize("broken", ["", "alice not-a-hash\n", None], ids=["empty", "no hash", "gone"])
async def test_a_broken_file_leaves_the_keys_as_they_were(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(file, look_s=0.02) as ring:
        file.unlink() if broken is None else file.write_text(broken)
        await until(lambda: "the keys stay as they were" in caplog.text)
        assert takes(ring, "alice")
        file.write_text(line("bob"))
        await until(lambda: takes(ring, "bob"))
