"""Motion: the BasicMotions recordings (PyPI `aeon`), real six-channel wrist sensors at 10 Hz, four activities."""

from pathlib import Path

import numpy as np

from recipes.panda_mini.concepts import Concept

RATE_HZ = 10.0
_STEPS, _SECONDS = 2000, 5.0


def recordings(packages: Path, split: str, concepts: tuple[Concept, ...]) -> tuple[np.ndarray, np.ndarray]:
    """[M, 100, 6] raw rows and the concept of each [M]; `split` is "TRAIN" or "TEST"."""
    folder = packages / "aeon" / "aeon" / "datasets" / "data" / "BasicMotions"
    index = {concept.name: at for at, concept in enumerate(concepts)}
    rows, labels = [], []
    for line in (folder / f"BasicMotions_{split}.ts").read_text().splitlines():
        if line and not line.startswith(("@", "#")):
            *channels, label = line.split(":")
            rows.append(np.array([[float(cell) for cell in channel.split(",")] for channel in channels]).T)
            labels.append(index[label.strip().lower()])
    return np.stack(rows), np.array(labels)


def window(rows: np.ndarray, start: float) -> np.ndarray:
    """[6, 2000] float32, five seconds from `start` on, linear in time, as the recipe `imu-v1` gives it."""
    at = start + np.arange(_STEPS) * (_SECONDS / _STEPS)
    times = np.arange(len(rows)) / RATE_HZ
    return np.stack([np.interp(at, times, column) for column in rows.T]).astype(np.float32)


def varied_window(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another five seconds, a little slower or stronger, the sensor worn a little turned."""
    turn, _ = np.linalg.qr(np.eye(3) + rng.normal(0, 0.15, (3, 3)))
    turn = turn * np.sign(np.diag(turn))
    turned = np.concatenate([rows[:, :3] @ turn, rows[:, 3:] @ turn], axis=1) * rng.uniform(0.8, 1.25)
    turned = turned + rng.normal(0, 0.05, turned.shape)
    return window(turned, float(rng.uniform(0, len(rows) / RATE_HZ - _SECONDS)))
