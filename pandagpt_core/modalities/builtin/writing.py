"""Short ways to write an entry."""

MEDIA = "pandagpt_core.media"
SAMPLES = f"{MEDIA}.samples"


def one_line(words: str) -> str:
    """One line of a text that is written over several."""
    return " ".join(words.split())
