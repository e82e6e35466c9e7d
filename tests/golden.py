"""The golden vectors: `shared/golden` beside the repository, or any folder of the same layout, named by GOLDEN.

`make test ARGS=tests/parity GOLDEN=FOLDER`. Sizes, LoRA and answer lengths come from the folder's config.json files,
cases and their media from cases.json. A case whose medium is absent is skipped by its name.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from pandagpt_core.encoders.eva_vit import EvaSizes
from pandagpt_core.encoders.points.sizes import PointSize
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize

SHARED = Path(__file__).parents[2] / "shared"
FOLDER = Path(os.environ.get("GOLDEN") or SHARED / "golden").resolve()


def read(part: str, name: str = "config.json", folder: Path | None = None) -> dict[str, Any]:
    """A JSON file of one part of the vectors; empty where there is none."""
    file = (folder or FOLDER) / part / name
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content


def cases(part: str, section: str, wanted: Callable[[Any], bool] = lambda case: True) -> list[Any]:
    """The names of a section's cases, to parametrize by; a skipped one where there are none."""
    names = [name for name, case in read(part, "cases.json").get(section, {}).items() if wanted(case)]
    return names or [pytest.param("none", marks=pytest.mark.skip(f"no cases of {section} in {part}"))]


def tensors(part: str, pattern: str) -> list[Any]:
    """The tensors of a part's cases whose whole names match, to parametrize by the pattern's one group."""
    file = FOLDER / part / "cases.safetensors"
    names: list[str] = []
    if file.is_file():
        with safe_open(file, "pt") as opened:
            names = [found[1] for name in opened.keys() if (found := re.fullmatch(pattern, name))]  # noqa: SIM118
    return names or [pytest.param("none", marks=pytest.mark.skip(f"no tensors {pattern} in {part}"))]


def medium(file: Path) -> bytes:
    """Skips the case where the medium is absent."""
    if not file.is_file():
        pytest.skip(f"no medium {file.name} among these vectors")
    return file.read_bytes()


def imagebind_sizes(folder: Path, *, with_points: bool = False) -> ImageBindSizes:
    """Of the towers, from imagebind-tiny; with the point encoder of imagebind-llm-tiny."""
    config = read("imagebind-tiny", folder=folder)
    made = config["constructor"]
    towers = {
        name: TowerSize(made[f"{name}_embed_dim"], made[f"{name}_num_blocks"], made[f"{name}_num_heads"])
        for name in TOWERS
    }
    point = point_size(folder) if with_points else None
    return ImageBindSizes(**towers, out=made["out_embed_dim"], vocab=config["text_vocab_size"], point=point)


def point_size(folder: Path) -> PointSize:
    config = read("imagebind-llm-tiny", folder=folder)
    point = config["point"]
    return PointSize(
        width=point["trans_dim"],
        blocks=point["depth"],
        heads=point["num_heads"],
        groups=point["num_group"],
        neighbours=point["group_size"],
        local=point["encoder_dims"],
        projected=config["point_proj"],
    )


def eva_sizes(folder: Path) -> EvaSizes:
    vit = read("minigpt-v2-tiny", folder=folder)["vit"]
    mlp = int(vit["embed_dim"] * vit["mlp_ratio"])
    return EvaSizes(width=vit["embed_dim"], blocks=vit["depth"], heads=vit["num_heads"], mlp=mlp)
