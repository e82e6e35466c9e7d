"""Memory of the service as it is served by default: each process after three requests, shared pages counted once.

    python -m benchmarks.resident [--quick] [--shapes 150] [--model models/panda-mini]

Proportional set sizes (`/proc/PID/smaps_rollup`, Pss): a page that n processes share counts 1/n in each, so that the
sum is what the machine gives up. Nothing is named but model, port and state folder. The three requests are a text, a
picture and a sound. With --shapes the same again after so many requests of random lengths.
"""

import io
import random
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.contestants.base import ContestantSpec
from benchmarks.contestants.servers import Server, ServerContestant
from benchmarks.first_token import picture
from benchmarks.lib import machine, procs, report
from benchmarks.lib.machine import ROOT
from benchmarks.lib.options import options, parser
from benchmarks.lib.prompts import PASSAGE

LIMIT_MIB = 1e9 / (1 << 20)  # one gigabyte for all processes together
SETTLE_S = 5.0  # after the last answer
LONGEST, MOST_NEW = 4000, 48  # characters of a prompt, tokens of an answer
# Words of a command line, in the order of the tries.
KINDS = (
    ("decoding.child", "decoding child"),
    ("cli worker", "worker"),
    ("cli gateway", "gateway"),
    ("valkey", "store"),
)
COLUMNS = (
    report.Column("process", "process"),
    report.Column("three", "after 3 requests (MiB)", 1),
    report.Column("shapes", "after many shapes (MiB)", 1),
)
Held = list[tuple[str, float]]


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, default=ROOT / "models" / "panda-mini", help="model folder")
    arguments.add_argument("--shapes", type=int, default=0, help="requests of random lengths after the three")
    parsed = arguments.parse_args()
    given, facts = options(parsed), machine.facts()
    service = ServerContestant(default_server(parsed.model))
    service.start()
    try:
        three_requests(service.port)
        three = settled(service)
        many = after_shapes(service, parsed.shapes) if parsed.shapes else []
    finally:
        service.stop()
    notes = [
        "Proportional set sizes: shared pages count once. The three requests are a text, a picture and a sound.",
        f"At most {LIMIT_MIB:.0f} MiB (1 GB) is the bar for all processes after three requests.",
        "A first start: a process that has ended tried every runner.",
    ]
    if parsed.shapes:
        notes.append(f"Many shapes: {parsed.shapes} texts of 1 to {LONGEST} characters, 1 to {MOST_NEW} new tokens.")
    made = report.BenchmarkReport("resident", "Memory as served by default", COLUMNS, rows(three, many), notes)
    report.publish(made, facts, (given.out or report.folder(facts)) if given.save else None)
    return 1 if total(three) > LIMIT_MIB else 0


def default_server(model: Path) -> Server:
    """As `make serve` starts it, on another port and state folder."""
    command = [sys.executable, "-m", "service.cli", "serve", "--model", str(model)]
    return Server(
        "the service by default",
        lambda port: ContestantSpec([*command, "--port", str(port)], scratch="PANDAGPT_LOCAL_STATE"),
        ready="/health/ready",
        model=model.name,
    )


def three_requests(port: int) -> None:
    """A text, a picture, a sound."""
    ask(port, "What is this?", 16)
    ask(port, "What is this?", 16, {"image": ("x.png", picture(1), "image/png")})
    ask(port, "What is this?", 16, {"audio": ("x.wav", tone(), "audio/wav")})


def ask(port: int, prompt: str, new: int, files: dict[str, tuple[str, bytes, str]] | None = None) -> None:
    data = {"prompt": prompt, "max_tokens": str(new)}
    url = f"http://127.0.0.1:{port}/v1/generate"
    fields = {"files": files, "data": data} if files else {"files": {k: (None, v) for k, v in data.items()}}
    httpx.post(url, **fields, timeout=300, trust_env=False).raise_for_status()


def tone() -> bytes:
    """Two seconds of noise, 16 kHz, mono."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(random.Random(0).randbytes(2 * 32_000))
    return out.getvalue()


def after_shapes(service: ServerContestant, count: int) -> Held:
    chance = random.Random(0)
    for number in range(count):
        text = f"{number} " + (PASSAGE * (LONGEST // len(PASSAGE) + 1))[: chance.randint(1, LONGEST)]
        ask(service.port, text, chance.randint(1, MOST_NEW))
    return settled(service)


def settled(service: ServerContestant) -> Held:
    """Name and MiB of each process."""
    time.sleep(SETTLE_S)
    return sorted((kind_of(pid), procs.proportional_mib(pid)) for pid in service.pids())


def kind_of(pid: int) -> str:
    command = procs.command(pid)
    return next((kind for part, kind in KINDS if part in command), "supervisor")


def total(held: Held) -> float:
    return sum(mib for _, mib in held)


def rows(three: Held, many: Held) -> Sequence[report.Row]:
    """A row a process, the largest first; the last is their sum."""
    later = dict(enumerate(many))
    each = [
        {"process": kind, "three": mib, "shapes": later[at][1] if at in later else None}
        for at, (kind, mib) in enumerate(three)
    ]
    each.sort(key=lambda row: -float(str(row["three"])))
    return [*each, {"process": "together", "three": total(three), "shapes": total(many) if many else None}]


if __name__ == "__main__":
    sys.exit(main())
