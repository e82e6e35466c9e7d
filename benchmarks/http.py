"""Whole services through HTTP and server-sent events: ours (Valkey, gateway, worker) and peers' servers, one client.

    python -m benchmarks.http [--quick] [--only ours] [--widths 1,4,16] [--prompts 32] [--new 128] [--rounds 3]

Chat completions, text only, greedy, streamed. The weights cannot choose a control token, so that every server writes
as many tokens as it is asked for whatever its parameters.
"""

import sys
from collections.abc import Sequence

from benchmarks.contestants.field import SERVERS, assemble
from benchmarks.contestants.servers import ServerContestant
from benchmarks.lib import machine, plots, report, speed_tables
from benchmarks.lib.options import BenchmarkOptions, chosen, options, parser
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.rounds import RoundsOutcome, play
from benchmarks.lib.stats import Case, Run
from benchmarks.lib.weights import source
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer

COLUMNS = (*speed_tables.COLUMNS, report.Column("tokens", "tokens each", 0))


def main() -> int:
    given = options(parser(__doc__).parse_args())
    facts = machine.facts()
    wanted = cases(given)
    found, absent = assemble(SERVERS, given)
    contestants = [one for one in found if isinstance(one, ServerContestant)]
    outcome = measure(contestants, wanted, given)
    out = (given.out or report.folder(facts)) if given.save else None
    report.publish(written(outcome, contestants, absent, given), facts, out)
    if out is not None:
        plots.draw(out / "http.png", speed_tables.panels(outcome, wanted))
    return 0 if outcome.runs else 1


def cases(given: BenchmarkOptions) -> list[Case]:
    widths = chosen(given.widths, given.quick, (1, 4), (1, 4, 16))
    lengths = chosen(given.prompts, given.quick, (32,), (32,))
    return [Case(prompt, given.new or (16 if given.quick else 128), width) for prompt in lengths for width in widths]


def measure(contestants: Sequence[ServerContestant], wanted: Sequence[Case], given: BenchmarkOptions) -> RoundsOutcome:
    tokenizer = load_tokenizer(source())

    def ask(one: ServerContestant, case: Case, turn: int) -> Run:
        return one.chat(texts(tokenizer, case, turn), case.new)

    return play(contestants, wanted, given.rounds or (1 if given.quick else 3), ask, favour=given.favour)


def texts(tokenizer: Tokenizer, case: Case, turn: int) -> list[str]:
    """Users' messages of about `case.prompt` tokens; the template's own come on top."""
    passage = tokenizer.encode(PASSAGE)
    return [tokenizer.decode(ids) for ids in prompts(passage, case.prompt, case.width, turn)]


def written(
    outcome: RoundsOutcome, contestants: Sequence[ServerContestant], absent: dict[str, str], given: BenchmarkOptions
) -> report.BenchmarkReport:
    notes = [
        f"{given.threads} threads each, greedy, no two prompts alike, contestants in turn; the others stand still.",
        "The client shares the cores. tokens/s counts from the start to the last token, by each server's own count.",
        "prompt: tokens as the server counted them, its template's included. Times are of chunks that carry text; a "
        "chunk may hold more than one token.",
        "Peers run without a cache of prefixes. Ours is on; prompts differ from their first word, so that what it can "
        "reuse is the block of the system message.",
        "Peak MiB: highest resident memory over all cases, loading left out, all processes of the service, so that "
        "pages they share count more than once.",
        "Weights bits: of a weight in the products, scales of groups left out. A row's share is of the tokens/s of the "
        "fastest peer in the same case whose weights have as many.",
        *speed_tables.stated(outcome),
        report.quietness(outcome.shares),
    ]
    rows = speed_tables.rows(outcome, {one.name: one.through for one in contestants})
    title = "Through HTTP and server-sent events: tokens a second, SmolLM2-135M"
    return report.BenchmarkReport("http", title, COLUMNS, rows, notes, {**absent, **outcome.absent})


if __name__ == "__main__":
    sys.exit(main())
