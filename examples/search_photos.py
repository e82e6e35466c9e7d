"""Searches a folder of pictures by words or by a sound: python examples/search_photos.py photos --sound bark.wav

Pictures, words and sounds have vectors in one space; the nearest pictures come first, with their cosine.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from common import connect, embed, part, pictures


def main() -> int:
    arguments = _arguments()
    client, model = connect()
    shelf = pictures(arguments.folder)
    if not shelf:
        print(f"no pictures below {arguments.folder}", file=sys.stderr)
        return 2
    query = arguments.words if arguments.words else part("audio", arguments.sound)
    index = embed(client, model, [part("image", path) for path in shelf])
    scores = index @ embed(client, model, [query])[0]
    for place in np.argsort(-scores)[: arguments.count]:
        print(f"{scores[place]:+.3f}\t{shelf[place]}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Searches a folder of pictures by words or by a sound.")
    parser.add_argument("folder", type=Path)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--words")
    query.add_argument("--sound", type=Path)
    parser.add_argument("--count", type=int, default=5, help="pictures to show (5)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
