"""The ways to a store, each against a real server: TLS with an authority and certificates of one's own, a password from
a file that changes. (A Unix socket is what every other test uses; a cluster has `test_cluster.py`.)"""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from service.broker.connection import connect, store_errors
from service.broker.errors import StoreRefused, StoreUnavailable
from service.broker.gateway.client import Broker
from service.settings import StoreSettings
from service.worker.assembly import wait_for_store
from tests.chaos.house import until
from tests.conftest import Valkey
from tests.deploy.programs import program
from tests.fakes import worker_thread
from tests.ports import free_port
from tests.wire import answer, generate, run, text_of


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of the server (for 127.0.0.1) and of a client that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates")
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ours")
    (folder / "server.ext").write_text("subjectAltName=IP:127.0.0.1")
    (folder / "client.ext").write_text("extendedKeyUsage=clientAuth")
    for name in ("server", "client"):
        request = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        openssl(folder, *request, "-subj", f"/CN={name}")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl(folder, *sign, "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    return folder


SERVER_FILES = ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"]


@contextmanager
def tls_server(certificates: Path) -> Iterator[int]:
    binary, port = program("redis-server", "redis-server"), free_port()
    command = [binary, "--port", "0", "--tls-port", str(port), *SERVER_FILES, "--save", ""]
    with (certificates / "server.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=certificates, stdout=log, stderr=log)
    try:
        limit = time.monotonic() + 20
        while not _pings(StoreSettings(**tls(certificates, port))):
            if process.poll() is not None:
                printed = (certificates / "server.log").read_text()
                if "tls-port" in printed:  # the option that it does not know
                    pytest.skip("the redis-server here was built without TLS")
                raise AssertionError(f"the server ended: {printed}")
            assert time.monotonic() < limit, "the server does not answer"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def tls(certificates: Path, port: int, **changed: object) -> dict[str, object]:
    files = {"tls_ca_file": "ca.pem", "tls_cert_file": "client.pem", "tls_key_file": "client.key"}
    given = {name: certificates / file for name, file in files.items()}
    return {"url": f"rediss://127.0.0.1:{port}/0", **given, **changed}


def _pings(settings: StoreSettings) -> bool:
    client = connect(settings)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


async def test_a_request_passes_over_tls_with_an_own_authority_and_certificates(certificates: Path) -> None:
    with tls_server(certificates) as port:
        settings = StoreSettings(**tls(certificates, port))
        broker = Broker.connect(settings)
        with worker_thread(settings):
            request = generate("over TLS")
            assert text_of(await run(broker, request)) == answer(request)
        await broker.close()
        assert not _pings(StoreSettings(**tls(certificates, port, tls_cert_file=None, tls_key_file=None)))
        assert not _pings(StoreSettings(url=f"rediss://127.0.0.1:{port}/0")), "an unknown authority was trusted"


async def test_a_store_that_wants_a_client_s_certificate_is_not_waited_for(certificates: Path) -> None:
    """Either side may see a connection that ended, at first: its own write may come before the store's answer."""

    async def refusal(broker: Broker) -> StoreRefused:
        while True:
            try:
                await broker.check()
            except StoreRefused as error:
                return error
            except StoreUnavailable as error:
                if not error.passing:
                    raise

    with tls_server(certificates) as port:
        settings = StoreSettings(**tls(certificates, port, tls_cert_file=None, tls_key_file=None))
        broker = Broker.connect(settings)
        refused = await refusal(broker)
        await broker.close()
        assert "wants a client's certificate" in refused.message
        assert "store.tls_cert_file" in refused.advice
        with pytest.raises(StoreRefused, match="wants a client's certificate"):
            wait_for_store(settings, pause_s=0.01)


def test_a_tls_connection_that_ended_may_lack_a_certificate_and_is_tried_again() -> None:
    ended = redis.ConnectionError("Error 8 while writing to socket")
    ended.__cause__ = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    with pytest.raises(StoreUnavailable) as caught, store_errors():
        raise ended
    assert caught.value.passing
    assert "store.tls_cert_file" in caught.value.advice


@contextmanager
def tls_sentinel(certificates: Path, folder: Path, master: int) -> Iterator[int]:
    binary, port = program("redis-server", "redis-server"), free_port()
    (folder / "own.conf").write_text(f"sentinel monitor ours 127.0.0.1 {master} 1\n")
    reach = ["--sentinel", "--port", "0", "--tls-port", str(port), "--tls-replication", "yes"]
    command = [binary, str(folder / "own.conf"), *reach, *SERVER_FILES]
    process = subprocess.Popen(command, cwd=certificates, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def test_a_request_passes_by_sentinels_over_tls(certificates: Path, tmp_path: Path) -> None:
    with tls_server(certificates) as master, tls_sentinel(certificates, tmp_path, master) as port:
        named = {"url": None, "sentinels": (f"127.0.0.1:{port}",), "sentinel_master": "ours", "sentinel_tls": True}
        settings = StoreSettings(**tls(certificates, master, **named))
        until(lambda: _pings(settings), "a sentinel that names the master")
        broker = Broker.connect(settings)
        with worker_thread(settings):
            request = generate("over TLS, by sentinels")
            assert text_of(await run(broker, request)) == answer(request)
        await broker.close()
        assert not _pings(settings.model_copy(update={"tls_cert_file": None, "tls_key_file": None}))


async def test_a_password_from_a_file_is_read_at_each_connection(valkey: Valkey, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    valkey.client.execute_command("ACL", "SETUSER", "filed", "on", ">first", "~*", "&*", "+@all")
    settings = valkey.settings.model_copy(update={"username": "filed", "password_file": file})
    try:
        with worker_thread(settings):
            broker = Broker.connect(settings)
            request = generate("with a password")
            assert text_of(await run(broker, request)) == answer(request)
            await broker.close()
        valkey.client.execute_command("ACL", "SETUSER", "filed", "resetpass", ">second")
        stale = Broker.connect(settings)
        with pytest.raises(StoreRefused):
            await stale.check()
        file.write_text("second\n")
        await stale.check()
        file.unlink()
        fresh = Broker.connect(settings)
        with pytest.raises(StoreUnavailable):
            await fresh.check()
        await stale.close()
        await fresh.close()
    finally:
        valkey.client.execute_command("ACL", "DELUSER", "filed")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"password": "x", "password_file": "/y"}, "only one of the two"),
        ({"url": "redis://h", "tls_ca_file": "/y"}, "rediss://"),
        ({"url": "rediss://h", "tls_cert_file": "/y"}, "needs its key"),
    ],
)
def test_credentials_that_do_not_fit_together_are_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        StoreSettings(**given)
