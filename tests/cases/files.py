"""The files that people have (`shared/cases/media`), one case each."""

import json
from typing import Any

from pandagpt_core.training.evaluation.answerer import Held
from pandagpt_core.types import Modality
from tests.conftest import SHARED

FOLDER = SHARED / "cases" / "media"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text()) if FOLDER.is_dir() else []
NAMED = [
    f"{case['file']}{'-' + '-'.join(map(str, case['options'].values())) if case['options'] else ''}" for case in CASES
]
RECIPES = {
    "image": "lite0-image-v1",
    "video": "lite0-video-v1",
    "audio": "mixed-audio-v1",
    "depth": "depth-sunrgbd-v1",
    "thermal": "shown-thermal-v1",
    "imu": "imu-v1",
}


def held(case: dict[str, Any], data: bytes | None = None) -> Held:
    options = tuple(sorted(case["options"].items()))
    return Held(Modality(case["field"]), data or (FOLDER / case["file"]).read_bytes(), options, case["file"])
