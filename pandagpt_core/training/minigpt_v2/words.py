"""The wordings of MiniGPT-v2's tasks in training: several for each, taken in turn (Chen et al. 2023, appendix)."""

from collections.abc import Mapping
from types import MappingProxyType

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "caption": (
            "[caption] Briefly describe this image.",
            "[caption] Provide a concise depiction of this image.",
            "[caption] Summarize this image in a few words.",
        ),
        "vqa": ("[vqa] {}", "[vqa] Based on the image, respond to this question with a short answer: {}"),
        "detection": ("[detection] {}",),
        "refer": ("[refer] {}", "[refer] give me the location of {}", "[refer] where is {} ?"),
        "identify": ("[identify] {}", "[identify] what object is in this location {}"),
        "grounding": ("[grounding] please describe this image in details",),
    }
)


def worded(task: str, number: int, text: str = "") -> str:
    """The wording for the `number`th sample of a task."""
    ways = WORDS[task]
    return ways[number % len(ways)].format(text)
