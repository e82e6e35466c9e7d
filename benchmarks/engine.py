"""The engine alone, without HTTP, against other engines over the same weights: SmolLM2-135M on a CPU.

    python -m benchmarks.engine [--quick] [--only ours:int8] [--widths 1,16] [--prompts 32] [--new 128] [--rounds 3]

Every contestant sits in a process of its own and stands still while another is measured. Peers that exist only as a
server get the same token ids over HTTP; the table shows that.
"""

import sys

from benchmarks.contestants.field import ENGINES, assemble
from benchmarks.lib import machine, plots, report, speed_tables
from benchmarks.lib.contestant import Contestant
from benchmarks.lib.options import BenchmarkOptions, chosen, options, parser
from benchmarks.lib.prompts import PASSAGE, prompts
from benchmarks.lib.rounds import RoundsOutcome, play
from benchmarks.lib.stats import Case, Run
from benchmarks.lib.weights import source
from pandagpt_core.llm.tokenizers.base import load_tokenizer

REFERENCE = "ours:fp32"
COLUMNS = (*speed_tables.COLUMNS, report.Column("same", "tokens as ours:fp32 %", 0, 100))


def main() -> int:
    chosen_options = options(parser(__doc__).parse_args())
    facts = machine.facts()
    wanted = cases(chosen_options)
    contestants, absent = assemble(ENGINES, chosen_options)
    outcome = measure(contestants, wanted, chosen_options)
    out = (chosen_options.out or report.folder(facts)) if chosen_options.save else None
    through = {one.name: one.through for one in contestants}
    report.publish(written(outcome, through, absent, chosen_options), facts, out)
    if out is not None:
        plots.draw(out / "engine.png", speed_tables.panels(outcome, wanted))
    return 0 if outcome.runs else 1


def cases(given: BenchmarkOptions) -> list[Case]:
    widths = chosen(given.widths, given.quick, (1, 4), (1, 4, 16, 32))
    lengths = chosen(given.prompts, given.quick, (32,), (32, 256))
    return [Case(prompt, given.new or (16 if given.quick else 128), width) for prompt in lengths for width in widths]


def measure(contestants: list[Contestant], wanted: list[Case], given: BenchmarkOptions) -> RoundsOutcome:
    passage = load_tokenizer(source()).encode(PASSAGE)

    def ask(one: Contestant, case: Case, turn: int) -> Run:
        return one.generate(prompts(passage, case.prompt, case.width, turn), case.new)

    return play(contestants, wanted, given.rounds or (1 if given.quick else 3), ask, favour=given.favour)


def written(
    outcome: RoundsOutcome, through: dict[str, str], absent: dict[str, str], given: BenchmarkOptions
) -> report.BenchmarkReport:
    notes = [
        f"{given.threads} threads each, greedy, no two prompts alike, contestants in turn; the others stand still.",
        "tokens/s counts from the start to the last token, prompts included; decode tokens/s from the moment that "
        "every request has its first token. Medians over runs; percentiles over all requests of all runs.",
        "Weights: SmolLM2-135M-Instruct from one 4-bit file, dequantised and cast to each precision; q4_1 is the file.",
        "Peak MiB: highest resident memory over all cases, loading left out, all processes of the contestant.",
        "Weights bits: of a weight in the products, scales of groups left out. A row's share is of the tokens/s of the "
        "fastest peer in the same case whose weights have as many.",
        *speed_tables.stated(outcome),
        report.quietness(outcome.shares),
    ]
    rows = speed_tables.rows(outcome, through, REFERENCE)
    title = "Engine alone: tokens a second, SmolLM2-135M"
    return report.BenchmarkReport("engine", title, COLUMNS, rows, notes, {**absent, **outcome.absent})


if __name__ == "__main__":
    sys.exit(main())
