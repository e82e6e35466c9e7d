"""Media that hold nothing: blank or noisy pictures, silence, sensors at rest."""

from collections.abc import Mapping

from pandagpt_core.perception.reading import Sense
from pandagpt_core.perception.rows import Measures
from pandagpt_core.types import Modality

SENSES: Mapping[Modality, Sense] = {
    Modality.IMAGE: "picture",
    Modality.VIDEO: "video",
    Modality.AUDIO: "sound",
    Modality.DEPTH: "depth",
    Modality.THERMAL: "heat",
    Modality.IMU: "motion",
    Modality.TEXT: "text",
}
# Below these an array holds nothing: pictures in 0..255, the others in their encoder's own numbers.
_FLAT: Mapping[Modality, float] = {
    Modality.IMAGE: 3.0,
    Modality.VIDEO: 3.0,
    Modality.AUDIO: 0.02,
    Modality.DEPTH: 0.01,
    Modality.THERMAL: 0.01,
    Modality.IMU: 1e-3,
}
_VOID: Mapping[Sense, str] = {"sound": "silence", "motion": "no movement"}
_UNLIKE_NEIGHBOURS = 0.3  # a picture whose neighbouring pixels have less in common is noise
_GENTLE = 9.0  # a picture without a steeper slope has no edge: a gradient


def void_of(modality: Modality, measures: Measures) -> str:
    """The word for a medium that holds nothing; empty for one that holds something."""
    if measures.spread < _FLAT.get(modality, 0.0):
        return _VOID.get(SENSES[modality], "blank")
    if SENSES[modality] not in ("picture", "video"):
        return ""
    if measures.neighbours < _UNLIKE_NEIGHBOURS:
        return "noise"
    return "blank" if measures.slope < _GENTLE else ""
