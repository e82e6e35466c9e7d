"""Choice of the library (torch or OpenVINO) and the precision of the language model's steps, at load on a CPU.

The ways are the candidates of `pandagpt_core.autotune`: a few layers are timed in each, and the whole model's answers
over a probe are compared with the stored weights' own. An accelerator gets bf16 by torch.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from pandagpt_core.autotune import AutotuneReport, Candidate, Listen, NothingFits, Step, Timer, choose, ignore, known_to
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.llm import openvino
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.openvino import capable
from pandagpt_core.llm.precision import MARGIN, SMALL, PrecisionChoice, divergence, is_small, probed
from pandagpt_core.llm.quant.linear import Precision
from pandagpt_core.llm.torch_backend import serve

RunnerName = Literal["auto", "torch", "openvino"]
PrecisionAndRunner = tuple[Precision, RunnerName]
WhyNot = Callable[[Precision], str]

KINDS: tuple[Precision, ...] = ("int8", "bf16", "fp32")  # tried on a CPU by "auto"
LIMITS: dict[Precision, float] = {"int8": MARGIN, "bf16": MARGIN, "fp32": 1e-5}  # nats; of OpenVINO's numbers in fp32
FASTER_ROUNDED = 1.2  # times than fp32: less is noise and not worth another rounding
FASTER_ELSEWHERE = 1.1  # times than torch: less is noise and not worth another library's numbers
LAYERS = 4  # timed: enough that the work of once a step weighs little
ROWS = 16  # sequences of the timed step, beside one; and tokens of its vocabulary

WHAT = "language model"


def served(
    llm: Llama,
    precision: PrecisionChoice,
    device: str | torch.device = "cpu",
    runner: RunnerName = "auto",
    report: Listen = ignore,
    timed: Timer | None = None,
    least: int = SMALL,
    why_not: WhyNot = capable.why_not,
) -> LanguageModel:
    """The model made ready to serve, by the runner and in the precision named or, by "auto", by those that suit.

    "auto" is bf16 on an accelerator; on a CPU it is the fastest candidate within its limit, and fp32 by torch for
    models of fewer than `least` weights of products. A precision that torch is to compute is taken as named, without a
    limit of its loss. why_not: why OpenVINO does not compute in a precision here, empty where it does. Raises
    ValueError for a runner or a precision that is named and does not compute here.
    """
    if torch.device(device).type != "cpu":
        if runner == "openvino":
            raise ValueError(f"the runner openvino needs the device cpu, it is {device}")
        return _untimed(llm, "bf16" if precision == "auto" else precision, device, report)
    ways = _ways(precision, runner, why_not, small=is_small(llm, least))
    if len(ways) == 1 and ways[0][1] == "torch":
        return _untimed(llm, ways[0][0], device, report)
    try:
        tried = candidates(llm, ways, exact=precision == "auto", why_not=why_not)
        made, choice = choose(WHAT, tried, timed, "nats", known_to(report, WHAT))
    except NothingFits as error:
        raise ValueError(f"no way to serve {precision} by the runner {runner} here: {error}") from None
    report(choice)
    return made


def _untimed(llm: Llama, precision: Precision, device: str | torch.device, report: Listen) -> LanguageModel:
    made = serve(llm, precision, device)
    report(AutotuneReport(WHAT, f"torch {precision}", "nats"))
    return made


def _ways(precision: PrecisionChoice, runner: RunnerName, why_not: WhyNot, *, small: bool) -> list[PrecisionAndRunner]:
    """The ways to try. Raises ValueError where the named ones exclude one another."""
    if runner == "openvino":
        if precision == "auto":
            return [(kind, "openvino") for kind in KINDS]
        if reason := why_not(precision):
            raise ValueError(f"the runner openvino does not compute {precision} here: {reason}")
        return [(precision, "openvino")]
    if small or precision in ("fp16", "fp8"):
        return [("fp32" if precision == "auto" else precision, "torch")]
    kinds = KINDS if precision == "auto" else (precision,)
    runners: list[RunnerName] = ["torch"] if runner == "torch" or not openvino.installed() else ["torch", "openvino"]
    return [(kind, name) for kind in kinds for name in runners]


def candidates(
    llm: Llama, ways: Sequence[PrecisionAndRunner], *, exact: bool, why_not: WhyNot = capable.why_not
) -> list[Candidate[LanguageModel]]:
    """One for each way. exact: torch's answers in fewer bits have to stay within their limit too.

    Without a limit to check a model is served in place: no second set of weights is held.
    """
    reference = functools.cache(lambda: probed(llm))

    def candidate(kind: Precision, runner: RunnerName) -> Candidate[LanguageModel]:
        free = runner == "torch" and (kind == "fp32" or not exact)

        def make() -> LanguageModel:
            if free:
                return serve(llm, kind)
            reference()  # before a twin takes the weights up
            twin = _sharing(llm, llm)
            return _compile(twin, kind) if runner == "openvino" else serve(twin, kind)

        def again() -> LanguageModel:
            return _compile(llm, kind) if runner == "openvino" else serve(llm, kind)

        return Candidate(
            name=f"{runner} {kind}",
            prepare=lambda: _steps(_first_layers(llm), kind, runner, why_not),
            make=make,
            deviation=None if free else lambda twin: divergence(reference(), twin),
            limit=LIMITS[kind],
            handicap=(1.0 if kind == "fp32" else FASTER_ROUNDED) * (1.0 if runner == "torch" else FASTER_ELSEWHERE),
            again=again,
        )

    return [candidate(*way) for way in ways]


def _sharing(part: nn.Module, llm: Llama) -> Llama:
    """A copy of a part of the model that shares the weights."""
    twin: Llama = copy.deepcopy(part, {id(p): p for p in llm.parameters()})  # type: ignore[assignment]
    return twin


def _first_layers(llm: Llama) -> Llama:
    """A model of the first layers and a few tokens that shares the weights.

    Timed in the basis of its weights: entering another is done once a step.
    """
    with init_empty_weights():
        few = Llama(replace(llm.config, layers=min(LAYERS, llm.config.layers), vocab=ROWS, tied=False))
    for index in range(few.config.layers):
        few.model.layers[index] = _sharing(llm.model.layers[index], llm)
    few.model.norm = _sharing(llm.model.norm, llm)  # type: ignore[assignment]
    few.lm_head.weight = nn.Parameter(llm.model.embed_tokens.weight[:ROWS].detach(), requires_grad=False)
    few.model.embed_tokens.weight = few.lm_head.weight
    return few


def _compile(llm: Llama, precision: Precision) -> LanguageModel:
    from pandagpt_core.llm.openvino.compiled import compile_for_cpu  # an extra, which takes time to import

    return compile_for_cpu(llm, precision)


@torch.inference_mode()
def _steps(few: Llama, precision: Precision, runner: RunnerName, why_not: WhyNot) -> Sequence[Step]:
    """Of one row and of ROWS rows, each of another sequence."""
    step = _compiled_step(few, precision, why_not) if runner == "openvino" else _torch_step(few, precision)
    inputs = [torch.ones(rows, few.config.width) for rows in (1, ROWS)]
    return [functools.partial(torch.inference_mode()(step), x) for x in inputs]


def _torch_step(few: Llama, precision: Precision) -> Callable[[Tensor], Tensor]:
    fast = serve(few, precision)
    fast.stream = None
    groups = few.config.groups

    def itself(_layer: int, _q: Tensor, _k: Tensor, v: Tensor, /) -> Tensor:
        return v.repeat_interleave(groups, dim=-2)  # attention to the one position there is

    return lambda x: fast.logits(fast.hidden(x, torch.zeros(len(x), dtype=torch.long), itself))


def _compiled_step(few: Llama, precision: Precision, why_not: WhyNot) -> Callable[[Tensor], Tensor]:
    """Raises RuntimeError for a precision that the probe shows not to be computed here."""
    if reason := why_not(precision):
        raise RuntimeError(reason)
    from pandagpt_core.llm.openvino.compiled import BlockChunk, OpenVinoLlama  # an extra, which takes time to import

    session = OpenVinoLlama(few.requires_grad_(False), precision).session(ROWS)
    return lambda x: session.run(x, [BlockChunk(0, 1, range(n, n + 1)) for n in range(len(x))])
