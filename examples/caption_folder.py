"""Captions for a folder of pictures, as a table in CSV: python examples/caption_folder.py photos > captions.csv

A picture that the service refuses gets the reason in the third column, and the others go on.
"""

import argparse
import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from common import connect, part, pictures


def main() -> int:
    arguments = _arguments()
    client, model = connect()

    def caption(path: Path) -> tuple[str, str, str]:
        content = [part("image", path), {"type": "text", "text": arguments.question}]
        try:
            answer = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": content}], extra_body={"priority": "batch"}
            )
        except openai.APIError as error:
            return str(path), "", error.message
        return str(path), (answer.choices[0].message.content or "").strip(), ""

    table = csv.writer(sys.stdout)
    table.writerow(("file", "caption", "error"))
    with ThreadPoolExecutor(arguments.at_once) as pool:
        failed = 0
        for row in pool.map(caption, pictures(arguments.folder)):
            table.writerow(row)
            failed += bool(row[2])
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Captions for a folder of pictures, as CSV.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--question", default="What is in the picture?")
    parser.add_argument("--at-once", type=int, default=4, help="requests at once (4)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
