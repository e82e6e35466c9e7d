"""The words in voice notes, as a table in CSV: python examples/write_down.py notes/*.m4a > notes.csv

The service writes speech down where it was started with a recogniser: make serve SPEECH=whisper-base. A file that it
refuses gets the reason in the third column, and the others go on.
"""

import argparse
import csv
import sys
from pathlib import Path

import openai
from common import connect


def main() -> int:
    arguments = _arguments()
    client, _ = connect()
    language = {"language": arguments.language} if arguments.language else {}

    def text_of(path: Path) -> tuple[str, str, str]:
        try:
            answer = client.audio.transcriptions.create(model="whisper-1", file=path, **language)
        except openai.APIError as error:
            return str(path), "", error.message
        return str(path), answer.text.strip(), ""

    table = csv.writer(sys.stdout)
    table.writerow(("file", "text", "error"))
    failed = 0
    for row in map(text_of, arguments.files):
        table.writerow(row)
        sys.stdout.flush()
        failed += bool(row[2])
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The words in voice notes, as CSV.")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--language", help="of the speech, such as de; found from each file where it is not given")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
