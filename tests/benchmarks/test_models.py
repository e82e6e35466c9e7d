"""The arithmetic of rooflines, the plain towers, and the GPU benchmarks' logic at small sizes on a CPU."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from benchmarks import imagebind, memory, rooflines
from benchmarks.contestants.field import AS_SERVED
from benchmarks.gpu import imagebind as gpu_imagebind
from benchmarks.gpu import llm as gpu_llm
from benchmarks.lib import peaks
from benchmarks.lib.options import options, parser
from benchmarks.lib.random_models import random_llama
from benchmarks.lib.rounds import RoundsOutcome
from benchmarks.lib.sizes import product_weights, step_bytes, tower_operations, weight_bytes
from benchmarks.lib.stats import Case, Run
from pandagpt_core import autotune
from pandagpt_core.encoders.precision import autocast_towers
from pandagpt_core.encoders.sizes import HUGE, ImageBindSizes, TowerSize
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant import linear

TINY = LlamaConfig(vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, max_positions=64)
SIZE = TowerSize(width=16, blocks=2, heads=2)
SIZES = ImageBindSizes(SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, out=8, vocab=16)


def test_the_weights_of_a_step_are_the_models_matrices_but_the_embedding_table() -> None:
    matrices = [parameter for parameter in Llama(TINY).parameters() if parameter.dim() > 1]
    assert product_weights(TINY) == sum(matrix.numel() for matrix in matrices) - TINY.vocab * TINY.width
    assert weight_bytes(TINY, "bf16") == 2 * weight_bytes(TINY, "int8") == weight_bytes(TINY, "fp32") // 2


def test_llama_13b_has_13_billion_parameters() -> None:
    config = gpu_llm.LLAMA_13B
    assert product_weights(config) + config.vocab * config.width == pytest.approx(13.0e9, rel=0.01)


def test_a_step_reads_weights_once_and_every_sequences_cache() -> None:
    token = 2 * TINY.layers * TINY.kv_heads * TINY.head_dim * 2
    assert step_bytes(TINY, "bf16", 3, 10) == weight_bytes(TINY, "bf16") + 30 * token


def test_decoding_as_served_has_its_share_of_one_token_a_step() -> None:
    case = Case(prompt=8, new=4, width=1)
    run = Run(arrivals=((1.0, 1.1, 1.1, 1.2),), tokens=(4,))  # three tokens in 0.2 s, two of them in one step
    outcome = RoundsOutcome({(AS_SERVED, case): [run]}, facts={AS_SERVED: {"precision": "int8"}})
    memory = 20.0 * step_bytes(TINY, "int8", 1, 10)
    (row,) = rooflines.as_served(TINY, memory, outcome, case)
    assert (row["value"], row["most"], row["share"]) == pytest.approx((15.0, 20.0, 0.75))
    assert not [*rooflines.as_served(TINY, memory, RoundsOutcome(), case)]


def test_the_vision_tower_takes_the_operations_known_of_its_shape() -> None:
    # ViT-H/14 at 224 pixels: 167.4 billion multiply-adds (as published with the shape); a clip of two frames adds a
    # second frame's patches to its stem.
    stem = 256 * 3 * 14 * 14 * 1280
    assert tower_operations(HUGE.vision, "vision") == pytest.approx(2 * (167.4e9 + stem), rel=0.005)


def test_operations_grow_with_blocks_by_the_same_step() -> None:
    counts = [tower_operations(imagebind.cut(HUGE, blocks).audio, "audio") for blocks in (1, 2, 3)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


@pytest.mark.parametrize("work", imagebind.works(SIZES), ids=lambda work: str(work.modality))
def test_plain_towers_and_ours_give_the_same_embeddings(work: imagebind.EncoderCase) -> None:
    torch.manual_seed(1)
    clips = torch.randn(2, *imagebind.SHAPES[work.modality])
    ours, plain = work.ours(clips), imagebind.one_by_one(work.plain, clips)
    torch.testing.assert_close(ours, plain)
    assert not torch.allclose(ours[0], ours[1], atol=1e-4)  # they do depend on the clip


def test_a_row_of_towers_has_both_rates_and_their_ratio() -> None:
    work = next(one for one in imagebind.works(SIZES) if one.modality == "audio")
    row = imagebind.measure(work, 2, SIZES, 1, 1e12)
    assert row["times"] == pytest.approx(float(row["ours"] or 0) / float(row["plain"] or 0))
    assert float(row["difference"] or 0) < 1e-5


def test_cutting_leaves_widths_and_changes_blocks() -> None:
    assert imagebind.cut(HUGE, 2).vision == TowerSize(width=1280, blocks=2, heads=16)
    assert imagebind.cut(HUGE, 2).audio == TowerSize(width=768, blocks=2, heads=12)


def test_peaks_are_positive_in_every_precision() -> None:
    assert peaks.read_bandwidth(2**16, seconds=0.01) > 0
    for kind in ("fp32", "bf16", "int8"):
        assert peaks.matrix_peak(kind, 32, seconds=0.01) > 0


@pytest.mark.parametrize("tied", [False, True])
def test_a_random_llama_is_finite_and_the_same_each_time(tied: bool) -> None:
    config = LlamaConfig(vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, tied=tied)
    one, other = (random_llama(config, "fp32", "cpu") for _ in range(2))
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        first, second = one(one.embed(ids)), other(other.embed(ids))
    assert first.isfinite().all()
    assert torch.equal(first, second)


def test_the_gpu_benchmark_of_the_language_model_works_at_small_size() -> None:
    cases = [Case(prompt=8, new=4, width=1), Case(prompt=8, new=4, width=3)]
    rows = gpu_llm.measure(random_llama(TINY, "bf16", "cpu"), cases, 1, 1e9, prefill=16)
    assert [row["width"] for row in rows] == [1, 3]
    for row, case in zip(rows, cases, strict=True):
        most = case.width * 1e9 / step_bytes(TINY, "bf16", case.width, 10)
        assert row["most"] == pytest.approx(most)
        assert row["share"] == pytest.approx(float(row["decode_per_s"] or 0) / most)
        assert row["peak_mib"] is None
    assert gpu_llm.panel(rows).lines


def test_the_gpu_benchmark_measures_each_precision_that_the_device_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "int8_runs", lambda _: False)
    words = ["--widths", "1,2", "--prompts", "8", "--new", "4", "--rounds", "1"]
    wide = LlamaConfig(vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=48, max_positions=64)
    found = gpu_llm.measured(wide, ["bf16", "fp8", "int8"], options(parser("").parse_args(words)), "cpu")
    assert [(row["precision"], row["width"]) for row in found.rows] == [
        *(("bf16", 1), ("bf16", 2)),
        *(("fp8", 1), ("fp8", 2)),
    ]
    assert list(found.absent) == ["int8"]
    assert len(gpu_llm.panel(found.rows).lines) == 4
    table = found.table()
    assert "fp8" in table
    assert "precision" in table


def test_a_precision_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "--precisions", "bf16,fp4"])
    with pytest.raises(SystemExit):
        gpu_llm.main()
    assert "no precision fp4; there are bf16, fp16, fp8, int8" in capsys.readouterr().err


def test_the_bytes_of_a_step_are_those_of_the_served_weights() -> None:
    wide = LlamaConfig(vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=48, max_positions=64)
    fp8 = random_llama(wide, "fp8", "cpu")
    matrices = [tensor for name, tensor in fp8.state_dict().items() if tensor.dim() > 1 and "embed" not in name]
    scales = sum(tensor.nbytes for tensor in matrices if tensor.dtype == torch.float32)  # one a row: not counted
    assert sum(tensor.nbytes for tensor in matrices) - scales == weight_bytes(wide, "fp8")


def test_the_towers_are_measured_as_they_are_served() -> None:
    def timed(steps: autotune.Steps) -> dict[str, float]:
        return {name: 1.0 if "bfloat16" in name else 2.0 for name in steps}

    choose = partial(autocast_towers, timed=timed, least=0)
    exact, served = (gpu_imagebind.made(SIZES, precision, "cpu", choose) for precision in ("fp32", "served"))
    names = {name for name, tensor in served.state_dict().items() if tensor.dtype == torch.bfloat16}
    assert {name.partition(".")[0] for name in names} == {"modality_trunks"}
    assert not any(tensor.dtype == torch.bfloat16 for tensor in exact.state_dict().values())


def test_the_gpu_benchmark_of_the_towers_works_at_small_size() -> None:
    rows = gpu_imagebind.measure(SIZES, "bf16", [1, 2], 1e12, "cpu", seconds=0.0)
    assert [(row["what"], row["batch"]) for row in rows][:3] == [("image", 1), ("image", 2), ("video", 1)]
    assert all(float(row["share"] or 0) > 0 for row in rows)
    assert gpu_imagebind.panel(rows).lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("module", [gpu_llm, gpu_imagebind])
def test_without_a_gpu_the_gpu_benchmarks_say_that_they_need_one(
    module: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark"])
    assert module.main() == 0  # type: ignore[attr-defined]  # a module
    assert "needs a CUDA device" in capsys.readouterr().out


def test_through_the_service_an_allocators_step_is_no_growth_and_a_leak_is() -> None:
    plan = memory.MemoryPlan.of(None, False, memory.HTTP)
    readings = [plan.requests * n / memory.SAMPLES for n in range(memory.SAMPLES + 1)]

    def verdict(mib: Callable[[float], float]) -> object:
        return memory.row("HTTP", [(done, 1800.0 + mib(done)) for done in readings], 1.0)["verdict"]

    for at in range(0, plan.requests, 250):
        assert verdict(lambda done, at=at: 6.0 * (done > at)) == "flat"
    assert verdict(lambda done: done * 6 / 1000) == "GROWS"
    assert verdict(lambda done: 6.0 * (done // 800)) == "GROWS"  # a step that does come again
    assert verdict(lambda done: 30.0 * (done > plan.requests / 2)) == "GROWS"  # one of another size


def test_no_way_has_fewer_than_two_thousand_requests_unless_that_is_said() -> None:
    for usual in (memory.ENGINE, memory.HTTP):
        assert memory.MemoryPlan.of(None, False, usual).requests >= 2000
        assert memory.MemoryPlan.of(300, False, usual).requests == 300
        assert memory.MemoryPlan.of(None, True, usual).requests == memory.QUICK


def test_memory_is_flat_or_grows_by_the_line_after_the_warm_quarter() -> None:
    flat = [(0.0, 10.0), (500.0, 50.0), (1000.0, 50.0), (1500.0, 50.1), (2000.0, 50.0)]
    grows = [(done, 50.0 + done / 100) for done, _ in flat]
    assert memory.row("engine", flat, 1.0)["verdict"] == "flat"
    found = memory.row("engine", grows, 1.0)
    assert found["verdict"] == "GROWS"
    assert found["growth"] == pytest.approx(10.0)
    assert memory.row("engine", [(0.0, 1.0), (50.0, 9.0), (99.0, 20.0)], 1.0)["verdict"] == "too few to say"
