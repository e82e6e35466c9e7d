"""Says what the microphone hears, window by window.

    arecord -q -t raw -f S16_LE -r 16000 -c 1 | python examples/watch_microphone.py

It reads 16-bit samples from its input, so that any recorder will do (macOS: `sox -q -d -t raw -e signed -b 16 -r 16000
-c 1 -`). Windows that are silent are not sent.
"""

import argparse
import sys

import httpx
import numpy as np
from common import ADDRESS, key_headers
from describe_sounds import hear, wav

QUIET = 0.003  # root mean square of a window, full scale being 1, under which it is not sent


def main() -> int:
    parser = argparse.ArgumentParser(description="The sounds at the microphone; samples come from the standard input.")
    parser.add_argument("--rate", type=int, default=16_000, help="samples a second (16000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window (3 s)")
    parser.add_argument("--question", default="What do you hear?")
    arguments = parser.parse_args()
    size = 2 * int(arguments.rate * arguments.seconds)
    with httpx.Client(base_url=ADDRESS, headers=key_headers(), timeout=60) as http:
        while len(block := sys.stdin.buffer.read(size)) >= 2:
            samples = np.frombuffer(block[: len(block) // 2 * 2], "<i2").astype(np.float32)[:, None] / 32768
            if float(np.sqrt((samples**2).mean())) < QUIET:
                print("(silence)", flush=True)
            else:
                print(hear(http, wav(samples, arguments.rate), arguments.question), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
