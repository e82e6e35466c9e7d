"""The files of the page's routes: those of the page and a folder of samples."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.gateway.page.assets import Assets, load_assets

ASKS = "asks.json"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One medium of an example. `options` are those of its content part."""

    modality: str
    path: Path
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    assets: Assets
    samples: Path

    def groups(self) -> list[list[SampleFile]]:
        """The examples that `asks.json` of the folder lists; none where there is no such folder."""
        try:
            listed = json.loads((self.samples / ASKS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [[_sample(self.samples, medium) for medium in group] for group in listed]


def make_site(samples: Path) -> Site:
    return Site(load_assets(), samples)


def _sample(folder: Path, medium: Mapping[str, Any]) -> SampleFile:
    return SampleFile(medium["modality"], folder / Path(medium["file"]).name, medium.get("options", {}))
