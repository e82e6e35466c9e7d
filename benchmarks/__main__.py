"""`python -m benchmarks`: every benchmark in turn, each in a process of its own, with the same options."""

import subprocess
import sys

EACH = ("rooflines", "engine", "http", "gateway_streams", "imagebind", "memory", "gpu.llm", "gpu.imagebind")


def main() -> int:
    """1 if any failed."""
    failed = 0
    for name in EACH:
        print(f"== benchmarks.{name}", file=sys.stderr, flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
