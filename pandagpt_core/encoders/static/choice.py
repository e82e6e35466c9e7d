"""Choice of the library (torch or OpenVINO) and the batch for a tower of one shape, by `pandagpt_core.autotune`.

First one clip is timed in each way, and the outputs of the ways that are not torch's are compared with torch's. Then
`CLIPS` of them are timed one by one and in batches, in the way that was taken.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pandagpt_core.autotune import Candidate, Listen, Step, Timer, choose, ignore, known_to, seconds
from pandagpt_core.encoders.mapped import lay_apart
from pandagpt_core.encoders.static import probe
from pandagpt_core.encoders.static.tower import ChunkedTower, StaticTower, apart
from pandagpt_core.llm import openvino
from pandagpt_core.llm.autotune import RunnerName

TORCH, COMPILED = "torch float32", "openvino float32"
LIMIT = 1e-5  # the largest 1 - cosine to torch's outputs
FASTER_ELSEWHERE = 1.1  # times than torch: less is noise and not worth another library's numbers
# Times than one by one: the first of a batch waits for the last, and OpenVINO packs the weights once more for it.
FASTER_TOGETHER = 1.25
BATCHES = (1, 4, 8)
CLIPS = 8  # timed together
ROUNDS = 3  # of each timed step
SMALL = 500_000  # weights: below, an encoding takes no time to speak of

At = Callable[[int], nn.Module]
"""The tower computed in one way, in batches of so many clips."""


def choose_static(
    towers: Sequence[StaticTower],
    runner: RunnerName = "auto",
    cache: Path | None = None,
    report: Listen = ignore,
    timed: Timer | None = None,
    least: int = SMALL,
    why_not: Callable[[], str] = probe.why_not,
) -> None:
    """Put in the place of each tower what suits it here. Towers on other devices and small ones are left alone.

    runner: "torch" leaves OpenVINO out. cache: a folder in which its graphs are kept for the next load. why_not: why it
    computes no towers here, empty where it does.
    """
    timed = timed or functools.partial(seconds, rounds=ROUNDS)
    large = [tower for tower in towers if _weights(tower) >= least and tower.clip.device.type == "cpu"]
    ways = _Ways(runner, cache, why_not)
    for tower in large:
        at = _way(tower, ways, report, timed)
        ways.settle(tower, _batched(tower, at, report, timed))
    ways.close()


class _Ways:
    """The ways to compute a tower; OpenVINO's where it is installed and not left out."""

    def __init__(self, runner: RunnerName, cache: Path | None, why_not: Callable[[], str]) -> None:
        self.why_not = why_not
        self.compiles = runner != "torch" and openvino.installed()
        if self.compiles:
            from pandagpt_core.encoders.static.graphs import Graphs  # an extra, which takes time to import

            self._graphs = Graphs(cache)

    def compiled(self, tower: StaticTower) -> At:
        """Compiled for one clip already. Raises what torch or OpenVINO raise at what they cannot convert or compile."""
        from pandagpt_core.encoders.static.compiled import Compiler  # as above

        compiler = Compiler(tower.module, self._graphs.of(tower))
        compiler.at(1)
        return compiler.at

    def settle(self, tower: StaticTower, taken: nn.Module) -> None:
        """Put it in its place; the weights are held once."""
        tower.put(taken)
        if not isinstance(taken, ChunkedTower):
            lay_apart(tower.module)

    def close(self) -> None:
        if self.compiles:
            self._graphs.prune()


def _way(tower: StaticTower, ways: _Ways, report: Listen, timed: Timer) -> At:
    reference = functools.cache(torch.inference_mode()(lambda: tower.module(tower.clip)))

    @torch.inference_mode()
    def deviation(at: At) -> float:
        return apart(reference(), at(1)(tower.clip))

    make = functools.cache(lambda: ways.compiled(tower))

    def prepare() -> Sequence[Step]:
        if reason := ways.why_not():
            raise RuntimeError(reason)
        return _steps(make()(1), tower, 1)

    by_torch: At = functools.partial(ChunkedTower, tower.module)
    candidates = [Candidate(TORCH, lambda: _steps(tower.module, tower, 1), lambda: by_torch)]
    if ways.compiles:
        candidates.append(Candidate(COMPILED, prepare, make, deviation, LIMIT, FASTER_ELSEWHERE))
    what = f"{tower.name} tower"
    at, choice = choose(what, candidates, timed, "1 - cosine", known_to(report, what))
    report(choice)
    return at


def _batched(tower: StaticTower, at: At, report: Listen, timed: Timer) -> nn.Module:
    if tower.most == 1:
        return at(1)
    clips = _clips(tower, CLIPS)
    reference = functools.cache(torch.inference_mode()(lambda: ChunkedTower(tower.module, 1)(clips)))

    @torch.inference_mode()
    def deviation(made: nn.Module) -> float:
        return apart(reference(), made(clips))

    def candidate(batch: int) -> Candidate[nn.Module]:
        make = functools.partial(at, batch)
        name, prepare = f"{batch} at once", lambda: _steps(make(), tower, CLIPS)
        if batch == 1:
            return Candidate(name, prepare, make)
        return Candidate(name, prepare, make, deviation, LIMIT, FASTER_TOGETHER)

    what = f"clips of the {tower.name} tower"
    sizes = [batch for batch in BATCHES if batch <= tower.most]
    taken, choice = choose(what, [*map(candidate, sizes)], timed, "1 - cosine", known_to(report, what))
    report(choice)
    return taken


def _clips(tower: StaticTower, count: int) -> Tensor:
    """Clips that differ, since a way made for one clip may give its outputs to all."""
    shares = torch.linspace(1.0, 0.5, count).view(-1, *[1] * (tower.clip.ndim - 1))
    return tower.clip * shares


def _steps(module: nn.Module, tower: StaticTower, count: int) -> Sequence[Step]:
    clips = _clips(tower, count)
    return [torch.inference_mode()(lambda: module(clips))]


def _weights(tower: StaticTower) -> int:
    return sum(parameter.numel() for parameter in tower.module.parameters())
