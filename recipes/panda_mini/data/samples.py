"""Write `samples/`: small media that anyone may use, made from the packages of the training data, and `asks.json`.

`python -m recipes.panda_mini.data.samples PACKAGES [FOLDER]`; the same files each time but for the video, whose
bytes are the encoder's.
"""

import json
import sys
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

from pandagpt_core.media.maps.depth import MEAN, MOST_DISPARITY, STD
from pandagpt_core.media.sound.filterbank import RATE
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import Picture, icons
from recipes.panda_mini.data.synthetic import RELIEFS, drawn_layers

Medium = dict[str, object]
_ICONS = {
    "dog": "dog-face",
    "cat": "cat",
    "panda": "panda",
    "guitar": "guitar",
    "banana": "banana",
    "tree": "deciduous-tree",
}
_SIZE, _DRAWN = 256, 208
_VIDEO = ("elephant", "elephant")
_SOUNDS = {"trumpet": 3, "dog": 4}  # concept -> seed
_SOUND_PARTS = 2
_DEPTH, _THERMAL = "rocket", "rabbit"
_FOCAL_PX, _BASELINE_M = 525.0, 0.04
_LOW, _HIGH = 28315, 31815  # hundredths of a kelvin: 10 to 45 degrees Celsius
_HERTZ, _SECONDS = 50, 6
_POINTS = 900
_TEXT = "a violin, an instrument with four strings that is played with a bow"


def write_all(packages: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noto = {p.stem: p for p in icons(packages, load_concepts(), ("noto",))}
    for name, slug in _ICONS.items():
        _on_white(noto[slug]).save(folder / f"{name}.png", optimize=True)
    write_video(noto[_VIDEO[1]], folder / f"{_VIDEO[0]}.mp4")
    for name, seed in _SOUNDS.items():
        write_sound(packages, name, seed, folder / f"{name}.flac")
    write_depth(noto[_DEPTH], folder / f"{_DEPTH}-depth.png")
    write_thermal(noto[_THERMAL], folder / f"{_THERMAL}-thermal.png")
    write_running(folder / "running-imu.csv")
    write_mug(folder / "mug.ply")
    (folder / "violin.txt").write_text(_TEXT + "\n")
    (folder / "asks.json").write_text(json.dumps(questions(), indent=1) + "\n")


def questions() -> list[list[Medium]]:
    """The questions of `make demo`: of each question the media, each with its modality, file and options."""
    camera = {"unit": "mm", "focal_px": _FOCAL_PX, "baseline_m": _BASELINE_M}
    depth: Medium = {"modality": "depth", "file": f"{_DEPTH}-depth.png", "options": camera}
    thermal: Medium = {
        "modality": "thermal",
        "file": f"{_THERMAL}-thermal.png",
        "options": {"low": _LOW, "high": _HIGH},
    }
    imu: Medium = {"modality": "imu", "file": "running-imu.csv", "options": {"rate_hz": _HERTZ}}
    dog, bark = _plain("image", "dog.png"), _plain("audio", "dog.flac")
    violin = _plain("text", "violin.txt")
    alone: list[Medium] = [
        *(_plain("image", f"{name}.png") for name in _ICONS),
        _plain("video", f"{_VIDEO[0]}.mp4"),
        *(_plain("audio", f"{name}.flac") for name in _SOUNDS),
        depth,
        thermal,
        imu,
        _plain("points", "mug.ply"),
        violin,
    ]
    mixed = [
        [dog, bark],
        [_plain("image", "guitar.png"), bark],
        [dog, imu],
        [depth, thermal],
        [_plain("video", f"{_VIDEO[0]}.mp4"), _plain("audio", "trumpet.flac")],
        [_plain("video", f"{_VIDEO[0]}.mp4"), violin],
    ]
    return [[one] for one in alone] + mixed


def _plain(modality: str, file: str) -> Medium:
    return {"modality": modality, "file": file}


def write_video(picture: Picture, path: Path) -> None:
    """Three seconds of the icon walking over a meadow, H.264."""
    drawn = picture.draw().resize((150, 150))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=12, options={"crf": "30", "threads": "1"})
        stream.width = stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(36):
            square = Image.new("RGB", (_SIZE, _SIZE), (206, 232, 250))
            square.paste((126, 178, 92), (0, 190, _SIZE, _SIZE))
            at = (_SIZE - 150 - 3 * number // 2, 62 + int(6 * np.sin(number)))
            square.paste(drawn.convert("RGB"), at, drawn.getchannel("A"))
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.asarray(square), format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)


def write_sound(packages: Path, name: str, seed: int, path: Path) -> None:
    """Some four seconds of the sound banks that were trained on, 16 kHz, 16 bits."""
    # The player of sound banks is needed here alone.
    from recipes.panda_mini.data.sounds import TRAINING_BANKS, bank_voices

    banks = {package: file for package, file in TRAINING_BANKS.items() if package.startswith("fluid")}
    rng = np.random.default_rng(seed)
    voices = bank_voices(packages, banks)[name]
    wave = np.concatenate([voices[0](rng) for _ in range(_SOUND_PARTS)])
    soundfile.write(path, wave, RATE, format="FLAC", subtype="PCM_16")


def write_depth(picture: Picture, path: Path) -> None:
    """A relief in millimetres, 16 bits, as a camera of `_FOCAL_PX` and `_BASELINE_M` would measure it."""
    (relief,) = _made(picture, "depth")
    disparity = np.maximum(relief * STD + MEAN, 1e-2) * MOST_DISPARITY
    millimetres = 1000 * _FOCAL_PX * _BASELINE_M / disparity
    Image.fromarray(np.clip(millimetres, 1, 65535).astype(np.uint16)).save(path, optimize=True)


def write_thermal(picture: Picture, path: Path) -> None:
    """Temperatures in hundredths of a kelvin, 16 bits."""
    (warmth,) = _made(picture, "thermal")
    Image.fromarray((_LOW + (_HIGH - _LOW) * warmth).astype(np.uint16)).save(path, optimize=True)


def _made(picture: Picture, kind: str) -> np.ndarray:
    parts = drawn_layers(picture)
    if parts is None:
        raise ValueError(f"{picture.stem} cannot be drawn")
    concept = load_concepts()[picture.concept]
    return RELIEFS[kind](parts, concept, np.random.default_rng(1), 0.0)


def write_running(path: Path) -> None:
    """A wrist that runs, made of sines by this project: m/s2 and rad/s, steps at 2.4 Hz and arms at 1.2 Hz."""
    rng = np.random.default_rng(1)
    time = np.arange(_HERTZ * _SECONDS) / _HERTZ
    arm, step = 2 * np.pi * 1.2 * time, 2 * np.pi * 2.4 * time
    columns = [
        4.8 + 13 * np.sin(arm) + 6 * np.sin(step + 0.4),
        -4.5 + 12 * np.sin(arm + 1.1) + 6 * np.sin(step + 2.0),
        -2.3 + 3 * np.sin(arm + 0.5) + 3 * np.sin(step + 1.0),
        2.4 * np.sin(arm + 0.8),
        2.0 * np.sin(arm + 2.2),
        7.0 * np.sin(arm + 1.6),
    ]
    rows = np.stack([column + rng.normal(0, 0.4, len(time)) for column in columns], axis=1)
    lines = [",".join(f"{value:.3f}" for value in row) for row in rows]
    path.write_text("accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z\n" + "\n".join(lines) + "\n")


def write_mug(path: Path) -> None:
    """Points of a mug in metres, ASCII PLY: a wall, a floor and a handle, made by this project."""
    rng = np.random.default_rng(1)
    turn, share = rng.uniform(0, 2 * np.pi, _POINTS), rng.uniform(0, 1, _POINTS)
    part = np.arange(_POINTS) * 6 // _POINTS  # four sixths are wall, one is floor, one is handle
    wall = np.stack([0.04 * np.cos(turn), 0.1 * share, 0.04 * np.sin(turn)], axis=1)
    floor = wall * [1, 0, 1] * np.sqrt(share)[:, None]
    bend, around = np.pi * (share - 0.5), 0.006 * np.exp(1j * turn)
    handle = np.stack(
        [0.04 + (0.03 + around.real) * np.cos(bend), 0.05 + (0.03 + around.real) * np.sin(bend), around.imag], axis=1
    )
    points = np.where((part < 4)[:, None], wall, np.where((part == 4)[:, None], floor, handle))
    head = ["ply", "format ascii 1.0", f"element vertex {_POINTS}", *(f"property float {axis}" for axis in "xyz")]
    rows = [" ".join(f"{side:.4f}" for side in point) for point in points]
    path.write_text("\n".join([*head, "end_header", *rows]) + "\n")


def _on_white(picture: Picture) -> Image.Image:
    drawn = picture.draw()
    drawn = drawn.resize((_DRAWN, _DRAWN * drawn.height // drawn.width))
    square = Image.new("RGB", (_SIZE, _SIZE), "white")
    square.paste(drawn.convert("RGB"), ((_SIZE - drawn.width) // 2, (_SIZE - drawn.height) // 2), drawn.getchannel("A"))
    return square


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "samples"))
