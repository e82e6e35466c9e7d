"""Arithmetic in the shared space: a picture plus a sound minus words, and what of a list is nearest to the result.

    python examples/add_media.py --plus image=dog.png --plus audio=trumpet.flac --minus text='a dog' \\
        a dog, a trumpet, a guitar
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import connect, embed, part


def item(written: str) -> Any:
    """`text=words` or `MODALITY=FILE` as an embedding's input."""
    modality, _, value = written.partition("=")
    return value if modality == "text" else part(modality, Path(value))


def main() -> int:
    parser = argparse.ArgumentParser(description="Adds and subtracts media in the shared space.")
    parser.add_argument("--plus", action="append", default=[], metavar="KIND=FILE", help="text=WORDS, image=FILE, ...")
    parser.add_argument("--minus", action="append", default=[], metavar="KIND=FILE")
    parser.add_argument("words", nargs="+", help="what the result is compared with, separated by commas")
    arguments = parser.parse_args()
    client, model = connect()
    terms = embed(client, model, [item(term) for term in (*arguments.plus, *arguments.minus)])
    signs = np.array([1.0] * len(arguments.plus) + [-1.0] * len(arguments.minus))
    sum_of_terms = signs @ terms
    sum_of_terms /= np.linalg.norm(sum_of_terms)
    labels = [label.strip() for label in " ".join(arguments.words).split(",")]
    scores = embed(client, model, labels) @ sum_of_terms
    for place in np.argsort(-scores):
        print(f"{scores[place]:+.3f}\t{labels[place]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
