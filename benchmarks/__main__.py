"""`python -m benchmarks`: every benchmark in turn, each in a process of its own, with the same options.

--brief: the comparison with the peers alone, at fewer rounds and tokens, in about half an hour.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence

EACH = (
    "rooflines",
    "engine",
    "http",
    "first_token",
    "page_opening",
    "gateway_streams",
    "scaling",
    "simulate",
    "imagebind",
    "memory",
    "resident",
    "sizing",
    "visual_cache",
    "masks",
    "takeover",
    "departures",
    "batches",
    "gpu.llm",
    "gpu.imagebind",
)
ROUNDS = ("--rounds", "2", "--new", "64")
ENGINES = (
    "ours-as-served,ours:,ours-openvino,transformers-generate:bf16,transformers-continuous,openvino,ctranslate2,"
    "onnxruntime-genai,vllm,llama"
)
SERVERS = "ours-as-served,ours:int8,ours-openvino:int8,vllm,llama-server:q,transformers-serve"
BRIEF: Mapping[str, Sequence[str]] = {
    "rooflines": ROUNDS,
    "engine": (*ROUNDS, "--widths", "1,4,16", "--prompts", "32", "--only", ENGINES),
    "http": (*ROUNDS, "--only", SERVERS),
    "imagebind": ("--rounds", "3", "--batches", "1,8"),
}


def main(arguments: Sequence[str]) -> int:
    """1 if any failed."""
    given = [argument for argument in arguments if argument != "--brief"]
    chosen = BRIEF if len(given) < len(arguments) else dict.fromkeys(EACH, ())
    failed = 0
    for name, options in chosen.items():
        print(f"== benchmarks.{name}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options, *given]
        failed |= subprocess.run(command, check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
