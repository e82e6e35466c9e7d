"""The images of deploy/, built by buildah without a daemon, and run by runc as the deployment files confine them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.programs import program

BASE = os.environ.get("BASE_IMAGE", "localhost/python-of-debian")
WHEELS = os.environ.get("PIP_FIND_LINKS", "").split()[:1]  # a folder with wheels, where there is one
USER = 10001
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def buildah(*arguments: str) -> str:
    done = subprocess.run([program("buildah", "buildah"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"buildah {arguments[0]}: {done.stderr[-3000:]}"
    return done.stdout.strip()


def ensure_base(folder: Path) -> None:
    """The base image: `BASE_IMAGE`, pulled before, or one made of Debian's packages, which needs no registry."""
    if buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return
    debootstrap = program("debootstrap", "debootstrap")
    root = folder / "base"
    packages = "--include=python3,python3-venv,ca-certificates"
    made = subprocess.run([debootstrap, "--variant=minbase", packages, "bookworm", str(root)], capture_output=True)
    if made.returncode:
        pytest.skip("debootstrap could not make a base: no way to Debian's archive")
    (root / "usr/bin/python").symlink_to("python3")
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    container = buildah("from", "scratch")
    buildah("copy", "--quiet", container, str(root), "/")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--rm", container, BASE)


def build(root: Path, name: str) -> str:
    """The image of `deploy/Dockerfile.<name>`."""
    given = ["--isolation", "chroot", "--pull-never", "--layers=false", "--file", f"deploy/Dockerfile.{name}"]
    given += ["--build-arg", f"BASE={BASE}"]
    for folder in WHEELS if name == "worker" else ():
        given += ["--volume", f"{folder}:{folder}:ro", "--build-arg", f"PIP_FIND_LINKS={folder}"]
        given += ["--build-arg", "TORCH_BACKEND="]
    buildah("bud", *given, "--tag", f"pandagpt-{name}-tested", str(root))
    return f"pandagpt-{name}-tested"


@contextmanager
def contained(
    image: str, folder: Path, env: Mapping[str, str], mounts: Mapping[Path, str], command: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run it in the host's network: read-only root, /tmp in memory, the image's own user, no capability, no new
    privileges. `mounts`: folders, read-only."""
    runc = program("runc", "runc")
    container = buildah("from", "--pull-never", image)
    name = f"test-{container}-{os.getpid()}"
    try:
        rootfs = buildah("mount", container)
        bundle = folder / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(_spec(image, rootfs, env, mounts, command)), encoding="utf-8")
        running = [runc, "run", "--bundle", str(bundle), name]
        with (bundle / "log").open("wb") as log:
            process = subprocess.Popen(running, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                subprocess.run([runc, "kill", name, "KILL"], check=False)
                process.wait(20)
    finally:
        buildah("rm", container)


def _spec(
    image: str, rootfs: str, env: Mapping[str, str], mounts: Mapping[Path, str], command: Sequence[str]
) -> dict[str, Any]:
    config = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    assert config["User"] == str(USER)
    none: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    bound = [
        {"destination": at, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
        for source, at in mounts.items()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": [*(command or config["Entrypoint"])],
            "env": [*config["Env"], *(f"{key}={value}" for key, value in env.items())],
            "cwd": "/",
            "capabilities": none,
            "noNewPrivileges": True,
        },
        "root": {"path": rootfs, "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "size=1g"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
            {"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]},
            *bound,
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
