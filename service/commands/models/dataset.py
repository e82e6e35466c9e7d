"""`pandagpt dataset`: a public data set's own annotations as conversations that `pandagpt train` reads."""

import argparse
import json
from pathlib import Path

from pandagpt_core.training.minigpt_v2.readers import READERS, read_dataset


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("kind", choices=tuple(READERS), help="which data set")
    parser.add_argument("annotations", type=Path, help="its file of annotations (Flickr30k: the folder Sentences)")
    parser.add_argument("second", type=Path, nargs="?", help="its second file, where it has one")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")


def run(arguments: argparse.Namespace) -> int:
    """Write the conversations and print their number."""
    entries = read_dataset(arguments.kind, arguments.annotations, arguments.second)
    arguments.out.write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(entries):,} conversations")
    return 0
