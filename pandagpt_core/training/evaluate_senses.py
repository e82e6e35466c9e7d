"""What a model says of held-out sounds, depth maps and heat maps, and of a picture and a sound together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pandagpt_core.runtime import Runtime
from pandagpt_core.training.concepts import Concept, load_concepts
from pandagpt_core.training.data.held_out import STYLE, made_up_maps, recorded_sounds, unseen_bank_sounds
from pandagpt_core.training.data.media import icons
from pandagpt_core.training.evaluate import QUESTION, Score, embed_pictures, score
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn

Group = Sequence[tuple[Modality, np.ndarray]]
_TOKENS = 24


def answers_about(runtime: Runtime, groups: Sequence[Group], question: str = QUESTION) -> list[str]:
    """Greedy answers to one question about each group of embeddings, composed as a request's media are."""
    texts: dict[str, str] = {}
    params = SamplingParams(max_tokens=_TOKENS, temperature=0.0)
    for index, group in enumerate(groups):
        uses = tuple(MediaUse(modality, f"{index:060x}{at:04x}", 0) for at, (modality, _) in enumerate(group))
        conversation = Conversation((Turn("user", question),), uses)
        runtime.admit(str(index), conversation, [embedding for _, embedding in group], params)
        texts[str(index)] = ""
    while runtime.has_work:
        for output in runtime.step():
            texts[output.sequence_id] += output.text
    return list(texts.values())


def sense_scores(runtime: Runtime, packages: Path, thin: int = 1) -> dict[str, Score]:
    """Scores by set, every `thin`-th item of each; sets of modalities that the model has not are left out."""
    return dict(_scores(runtime, packages, load_concepts(), thin))


def _scores(runtime: Runtime, packages: Path, concepts: tuple[Concept, ...], thin: int) -> Iterator[tuple[str, Score]]:
    known = runtime.info.recipes
    for kind, modality in (("depth", Modality.DEPTH), ("thermal", Modality.THERMAL)):
        if modality in known:
            maps, truth = made_up_maps(kind, packages, concepts, thin)
            groups = [[(modality, one)] for one in runtime.encode(modality, maps)]
            yield f"{kind}, synthetic", score(answers_about(runtime, groups), truth, concepts)
    if Modality.AUDIO not in known:
        return
    clips, truth = recorded_sounds(packages, concepts, thin)
    heard = [[(Modality.AUDIO, one)] for one in runtime.encode(Modality.AUDIO, clips)]
    yield "recordings", score(answers_about(runtime, heard), truth, concepts)
    clips, truth = unseen_bank_sounds(packages, concepts, thin)
    sounds = runtime.encode(Modality.AUDIO, clips)
    yield "sound bank", score(answers_about(runtime, [[(Modality.AUDIO, one)] for one in sounds]), truth, concepts)
    yield from _together(runtime, packages, concepts, sounds, truth)


def _together(
    runtime: Runtime,
    packages: Path,
    concepts: tuple[Concept, ...],
    sounds: Sequence[np.ndarray],
    truth: Sequence[int],
) -> Iterator[tuple[str, Score]]:
    """A sound and a held-out icon of the same concept: each alone, then both; where there is an icon."""
    shown = [picture for picture in icons(packages, concepts, (STYLE,)) if picture.concept in truth]
    seen = embed_pictures(runtime, shown)
    of_concept: dict[int, list[np.ndarray]] = {}
    for picture, embedding in zip(shown, seen, strict=True):
        of_concept.setdefault(picture.concept, []).append(embedding)
    pairs = []
    for index, (sound, concept) in enumerate(zip(sounds, truth, strict=True)):
        if concept in of_concept:
            icon = of_concept[concept][index % len(of_concept[concept])]
            pairs.append(((Modality.AUDIO, sound), (Modality.IMAGE, icon), concept))
    paired = [concept for _, _, concept in pairs]
    for name, groups in (
        ("pairs: sound alone", [[sound] for sound, _, _ in pairs]),
        ("pairs: picture alone", [[icon] for _, icon, _ in pairs]),
        ("pairs: both", [[icon, sound] for sound, icon, _ in pairs]),
    ):
        yield name, score(answers_about(runtime, groups), paired, concepts)
