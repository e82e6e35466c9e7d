"""Threat: tensors from callers corrupted memory even with weights_only (vLLM CVE-2025-62164).

Measures: no torch format is taken from a caller; `.npy` only without pickles, dense, finite, of known types and of the
shape it claims; what travels to a worker is checked again.
"""

import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load
from service.broker.media_cache import CorruptArray, pack, unpack
from tests.media.conftest import Make
from tests.security.evil import Evil
from tests.security.neighbours import data_url, neighbour

PARAMS: dict[str, dict[str, float | str]] = {
    "imu-v1": {"rate_hz": 100.0},
    "depth-sunrgbd-v1": {"unit": "disparity"},
    "imagebind-thermal-v1": {},
    "imagebind-image-v1": {},
}


def torch_files(mark: Path) -> dict[str, bytes]:
    def saved(value: object, **options: object) -> bytes:
        out = io.BytesIO()
        torch.save(value, out, **options)
        return out.getvalue()

    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 10**9]]), torch.ones(2), (10**9 + 1,), check_invariants=False)
    return {
        "a tensor": saved(torch.ones(40, 6)),
        "a sparse tensor": saved(sparse),
        "an old-style file": saved(torch.ones(40, 6), _use_new_zipfile_serialization=False),
        "an evil file": saved(Evil(mark)),
        "a pickle": pickle.dumps(np.ones((40, 6))),
        "an evil pickle": pickle.dumps(Evil(mark)),
        "an evil npz": npz(mark),
    }


def npz(mark: Path) -> bytes:
    """One array of objects: an NPZ of numbers is a depth map or heat like an .npy."""
    out = io.BytesIO()
    np.savez(out, np.array([Evil(mark)], dtype=object))
    return out.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    body = text.encode("latin-1")
    size = len(body) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", size) + body


def hostile_npy(make: Make, mark: Path) -> dict[str, bytes]:
    out = io.BytesIO()
    np.save(out, np.array([Evil(mark)], dtype=object), allow_pickle=True)
    good = make.npy(np.ones((40, 6)))
    return {
        "an object array": out.getvalue(),
        "an object array that says it is floats": out.getvalue().replace(b"|O", b"<f8"),
        "structured": make.npy(np.zeros(40, dtype=[("a", "<f4"), ("b", "<i4")])),
        "nested records": header("{'descr': [('a', [('b', '|O')])], 'fortran_order': False, 'shape': (3,)}"),
        "strings": make.npy(np.array(["x" * 100] * 6)),
        "void": header("{'descr': '|V100', 'fortran_order': False, 'shape': (3,)}") + bytes(300),
        "complex": make.npy(np.ones((40, 6), complex)),
        "long doubles": make.npy(np.ones((40, 6), np.longdouble)),
        "booleans": make.npy(np.ones((40, 6), bool)),
        "datetimes": make.npy(np.zeros((40, 6), "<M8[s]")),
        "NaN": make.npy(np.full((40, 6), np.nan)),
        "infinity": make.npy(np.full((40, 6), np.inf)),
        "no axes": make.npy(np.float64(1)),
        "empty": make.npy(np.ones((0, 6))),
        "a negative axis": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 6)}") + bytes(48),
        "axes that overflow": make.npy_claiming((2**32, 2**32, 2**32)),
        "an axis of 10^30": make.npy_claiming((10**30,)),
        "sixty-five axes": make.npy_claiming((1,) * 65),
        "too short": good[:-8],
        "too long": good + bytes(8),
        "a header that is code": header("__import__('os').system('touch " + str(mark) + "')"),
        "a header that calls": header("{'descr': '<f8', 'fortran_order': False, 'shape': (exit(),)}"),
        "a deep header": header("(" * 3000 + ")" * 3000),
        "a header of megabytes": header("{" + " " * 2_000_000 + "}", (2, 0)),
        "a header that claims gigabytes": header("{}", (2, 0), 2**32 - 1),
        "a shape that is no shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': 'x'}"),
        "a shape of floats": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1.5,)}"),
        "version 3": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", (3, 0)) + bytes(8),
        "version 255": b"\x93NUMPY\xff\xff",
        "only magic": b"\x93NUMPY",
    }


@pytest.mark.parametrize("recipe", list(PARAMS))
def test_hostile_arrays_and_all_torch_formats_are_refused_and_run_nothing(
    make: Make, tmp_path: Path, recipe: str
) -> None:
    mark = tmp_path / "ran"
    for what, data in {**hostile_npy(make, mark), **torch_files(mark)}.items():
        with pytest.raises(InvalidMedia) as caught:
            assert load(recipe, data, PARAMS[recipe], Limits()) is None, what
        assert str(mark) not in caught.value.message
    assert not mark.exists()


def test_over_http_they_are_400_and_neighbours_survive(steady_http: httpx.Client, make: Make, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with neighbour(steady_http.base_url):
        for what, data in {**hostile_npy(make, mark), **torch_files(mark)}.items():
            part = {"type": "imu_url", "imu_url": {"url": data_url(data), "imu": {"rate_hz": 100}}}
            body = {"messages": [{"role": "user", "content": [part]}]}
            answer = steady_http.post("/v1/chat/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_media"), what
    assert not mark.exists()


def test_the_gateway_and_its_children_never_import_torch() -> None:
    """Not even by accident through a library: a fresh interpreter tells."""
    gateway = "service.gateway.server, service.gateway.decoding.child, service.gateway.decoding.warmup"
    modules = f"{gateway}, service.broker.gateway.client"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


@pytest.mark.parametrize(
    "array", [np.ones(3, np.float64), np.array(["x"]), np.array([None], object), np.ones(2, complex), np.ones(1, bool)]
)
def test_only_float32_and_int64_travel_to_a_worker(array: np.ndarray) -> None:
    with pytest.raises(TypeError):
        pack(array)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        pickle.dumps(np.ones(3)),
        b"\x93NUMPY",
        pack(np.ones(3, np.float32))[:-1],
        pack(np.ones(3, np.float32)).replace(b"\x91\x03", b"\x91\x04"),
        pack(np.ones(3, np.float32)).replace(b"<f4", b"|O8"),
        pack(np.ones(3, np.float32)).replace(b"\x91\x03", b"\x91\xff"),
    ],
)
def test_a_worker_believes_no_stored_bytes_that_are_no_array(blob: bytes) -> None:
    with pytest.raises(CorruptArray):
        unpack(blob)
