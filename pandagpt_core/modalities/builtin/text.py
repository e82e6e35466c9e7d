"""Text as a modality."""

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Entry, Recipe

TEXT = Entry(
    name="text",
    label="context text",
    formats=one_line("""
        UTF-8
    """),
    reads=one_line("""
        nothing
    """),
    about="text as a modality: through the text tower into the shared space, not into the prompt",
    recipes=(
        Recipe(
            "clip-bpe-v1",
            f"{MEDIA}.text",
            "clip_bpe",
            "[1, 77]",
            "the first 75 tokens of CLIP",
            batch="clip-bpe-batch-v1",
        ),
    ),
    sample=(SAMPLES, "words"),
    limits=("bytes", "characters"),
    is_file=False,
)
