"""Who computes the language model's steps, torch or OpenVINO, and in which precision, found out at load.

OpenVINO computes where it is installed, the device is a CPU, a few layers are faster with it than with torch here, and
a trial of the whole model says what the stored weights say. Whatever fails on the way leaves torch.
"""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from pandagpt_core.llm import openvino
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.precision import MARGIN, Wanted, divergence, is_small, probed
from pandagpt_core.llm.precision import served as served_by_torch
from pandagpt_core.llm.quant.int8 import int8_runs
from pandagpt_core.llm.quant.linear import Linear, Precision

log = logging.getLogger(__name__)

Runner = Literal["auto", "torch", "openvino"]
Way = tuple[Precision, Runner]
Timer = Callable[[Llama, Sequence[Way]], dict[Way, float]]
Step = Callable[[Tensor], Tensor]

FASTER = 1.1  # times: less is noise and not worth another library's numbers
LIMITS: dict[Precision, float] = {"int8": MARGIN, "bf16": MARGIN, "fp32": 1e-5}  # nats; in the order they are tried
LAYERS = 4  # timed: enough that what is done once a step weighs little
ROWS = 16  # sequences of the timed step, beside one; and tokens of its vocabulary
ROUNDS = 12  # of which the first of a shape is slow


def served(llm: Llama, precision: Wanted, device: str | torch.device = "cpu", runner: Runner = "auto") -> Llama:
    """The model made ready to serve, by the runner named or, by "auto", by the one that suits.

    Raises ValueError for an OpenVINO that is named and cannot be: off the CPU, not installed, a precision it has not,
    or a graph that does not say what the model says.
    """
    if runner == "openvino":
        return _compiled(llm, precision, device)
    if runner == "auto" and _may_compile(llm, precision, device):
        fit = _first_fit(llm, precision, seconds)
        if fit is not None:
            return fit
    return served_by_torch(llm, precision, device)


@torch.inference_mode()
def seconds(llm: Llama, ways: Sequence[Way]) -> dict[Way, float]:
    """Of the first LAYERS, for one row and for ROWS rows, each of another sequence: the best of some runs, in turn.

    In turn, so that what else the machine does falls on all, and none finds its weights in the processor's cache.
    """
    steps = {way: _step(_first_layers(llm), *way) for way in ways}
    taken = dict.fromkeys(ways, 0.0)
    for rows in (1, ROWS):
        x = torch.ones(rows, llm.config.width)
        runs = [{way: _once(step, x) for way, step in steps.items()} for _ in range(ROUNDS)]
        for way in ways:
            taken[way] += min(run[way] for run in runs)
    return taken


def _may_compile(llm: Llama, precision: Wanted, device: str | torch.device) -> bool:
    on_cpu = torch.device(device).type == "cpu"
    return on_cpu and openvino.installed() and not is_small(llm) and precision in ("auto", *LIMITS)


def _first_fit(llm: Llama, precision: Wanted, timed: Timer) -> Llama | None:
    kinds = tuple(LIMITS) if precision == "auto" else (precision,)
    try:
        by_torch: list[Way] = [(kind, "torch") for kind in kinds if kind != "int8" or int8_runs("cpu")]
        taken = timed(llm, [*by_torch, *((kind, "openvino") for kind in kinds)])
        most = min(taken[way] for way in by_torch) / FASTER
        for kind in kinds:
            if taken[kind, "openvino"] <= most and (twin := _within(llm, kind)) is not None:
                return twin
    except (RuntimeError, ValueError) as error:  # a processor or a version that it does not do
        log.warning("OpenVINO does not compute this model here: %s", type(error).__name__)
    return None


def _within(llm: Llama, precision: Precision) -> Llama | None:
    """A compiled twin, which shares the weights until it is; None where it strays too far from what is stored."""
    reference = probed(llm)
    twin = copy.deepcopy(llm, {id(p): p for p in llm.parameters()}).compile_for_cpu(precision)
    return twin if divergence(reference, twin) <= LIMITS[precision] else None


def _compiled(llm: Llama, precision: Wanted, device: str | torch.device) -> Llama:
    """In place, so that the weights are held once; "auto" is int8 where that stays within the margin, else float32."""
    if torch.device(device).type != "cpu":
        raise ValueError(f"the runner openvino needs the device cpu, it is {device}")
    if not openvino.installed():
        raise ValueError("the runner openvino is not installed: pip install 'pandagpt[openvino]'")
    if precision == "auto":
        twin = _within(llm, "int8")
        return twin if twin is not None else _compiled(llm, "fp32", device)
    if precision not in LIMITS:
        raise ValueError(f"the runner openvino has no {precision}, only {', '.join(LIMITS)}")
    return llm.compile_for_cpu(precision)


def _first_layers(llm: Llama) -> Llama:
    """A model of the first layers and a few tokens that shares the weights.

    Timed in the basis of its weights: entering another is done once a step.
    """
    with torch.device("meta"):
        few = Llama(replace(llm.config, layers=min(LAYERS, llm.config.layers), vocab=ROWS, tied=False))
    shared = {id(p): p for p in llm.parameters()}
    for index in range(few.config.layers):
        few.model.layers[index] = copy.deepcopy(llm.model.layers[index], shared)
    few.model.norm = copy.deepcopy(llm.model.norm, shared)
    assert isinstance(few.lm_head, Linear)
    few.lm_head.weight = nn.Parameter(llm.model.embed_tokens.weight[:ROWS].detach(), requires_grad=False)
    few.model.embed_tokens.weight = few.lm_head.weight
    return few


def _step(few: Llama, precision: Precision, runner: Runner) -> Step:
    return _compiled_step(few, precision) if runner == "openvino" else _torch_step(few, precision)


def _torch_step(few: Llama, precision: Precision) -> Step:
    few.serve(precision)
    few._stream = None
    groups = few.config.groups

    def itself(_layer: int, _q: Tensor, _k: Tensor, v: Tensor, /) -> Tensor:
        return v.repeat_interleave(groups, dim=-2)  # attention to the one position there is

    return lambda x: few.logits(few.hidden(x, torch.zeros(len(x), dtype=torch.long), itself))


def _compiled_step(few: Llama, precision: Precision) -> Step:
    from pandagpt_core.llm.openvino.compiled import Compiled, Piece

    session = Compiled(few.requires_grad_(False), precision, stream=None).session(ROWS)
    return lambda x: session.run(x, [Piece(0, 1, range(n, n + 1)) for n in range(len(x))])


def _once(step: Step, x: Tensor) -> float:
    begun = time.perf_counter()
    step(x)
    return time.perf_counter() - begun
