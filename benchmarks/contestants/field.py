"""The list of contestants: servers and engines of `engine.py` and `http.py`, with precision and start."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contestants.base import ContestantSpec, PipeContestant
from benchmarks.contestants.choice import STATE, choice
from benchmarks.contestants.converted import CTRANSLATE2, ONNXRUNTIME_GENAI, converted
from benchmarks.contestants.entry import FieldEntry, found
from benchmarks.contestants.servers import Server, ServerContestant
from benchmarks.contestants.service_folder import service_folder
from benchmarks.lib import weights
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import Contestant
from benchmarks.lib.machine import cores
from benchmarks.lib.options import BenchmarkOptions
from benchmarks.lib.peer_folder import why_not
from pandagpt_core.llm.openvino import installed
from service.worker.torch_threads import waiting

MAX_RUNNING = 32
CONTEXT = 512  # tokens of prompt and answer that each contestant has room for
PRECISIONS = ("fp32", "bf16", "int8")
OURS = {"torch": "ours:", "openvino": "ours-openvino:"}  # by what computes the steps
WAYS = tuple((precision, runner) for runner in OURS for precision in PRECISIONS)
AS_SERVED = "ours-as-served:auto"  # nothing is named: the worker chooses precision, runner and threads
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
LLAMA_KINDS = ("q4_1", "q8_0", "bf16", "f32")
OPENVINO_KINDS = ("q4_1", "q8_0", "f16", "f32")
PREBUILT = Path(__file__).with_name("xllamacpp_serve.py")


def ours(precision: str, runner: str = "torch") -> FieldEntry:
    name = OURS[runner] + precision

    def make(options: BenchmarkOptions) -> Contestant:
        check_runner(runner)
        sizes = {"max_running": MAX_RUNNING, "prefill": options.prefill, "context": CONTEXT}
        settings = {"model": str(weights.source()), "precision": precision, "runner": runner, **sizes}
        env = waiting(os.environ)  # as in a worker
        return PipeContestant(name, sys.executable, "benchmarks.contestants.ours_child", settings, options, env=env)

    return FieldEntry(name, make)


def engine_as_served() -> FieldEntry:
    """The model as a worker holds it, without the HTTP, the store and the gateway."""

    def make(options: BenchmarkOptions) -> Contestant:
        settings = {"model": str(service_folder(options.cache, endless=False))}
        module, threads = "benchmarks.contestants.as_served_child", own_threads(options)
        return PipeContestant(AS_SERVED, sys.executable, module, settings, options, threads=threads, scratch=STATE)

    return FieldEntry(AS_SERVED, make)


def own_threads(options: BenchmarkOptions) -> int:
    """0, which leaves the number to the worker, unless fewer than all cores are to be used."""
    return 0 if options.threads == cores() else options.threads


def transformers(kind: str, precision: str) -> FieldEntry:
    name = f"transformers-{kind}:{precision}"

    def make(options: BenchmarkOptions) -> Contestant:
        settings = {"model": str(weights.hf_folder(options.cache, endless=False)), "precision": precision}
        module = f"benchmarks.contestants.{kind}_child"
        return PipeContestant(name, sys.executable, module, settings, options)

    return FieldEntry(name, make, slow=precision == "fp32")


def openvino(kind: str) -> FieldEntry:
    """OpenVINO. It reads no GGUF file in float32, so these weights are the same in 16 bits, computed in float32."""
    name = f"openvino:{kind}"

    def make(options: BenchmarkOptions) -> Contestant:
        missing = f"--openvino-python names no Python with openvino-genai; {why_not(options.peers, 'openvino')}"
        python = found(options.python_openvino, missing)
        model = weights.gguf_file(options.cache, "f16" if kind == "f32" else kind)
        properties = {"INFERENCE_PRECISION_HINT": "f32"} if kind == "f32" else {}
        settings = {"model": str(model), "max_running": MAX_RUNNING, "properties": properties}
        return PipeContestant(name, python, "benchmarks.contestants.openvino_child", settings, options)

    return FieldEntry(name, make)


def vllm(*, endless: bool) -> FieldEntry:
    def make(options: BenchmarkOptions) -> Contestant:
        missing = f"--vllm-python names no Python with vllm; {why_not(options.peers, 'vllm')}"
        python = found(options.python_vllm, missing)
        model = weights.hf_folder(options.cache, endless=endless)
        return ServerContestant(vllm_server(python, model, options.threads), options.favour)

    return FieldEntry("vllm:bf16", make, slow=True)


def llama(kind: str) -> FieldEntry:
    name = f"llama-server:{kind}"

    def make(options: BenchmarkOptions) -> Contestant:
        compiled = shutil.which(options.llama_server or "llama-server")
        if compiled is None and options.python_xllamacpp:
            command, called = [options.python_xllamacpp, str(PREBUILT)], f"llama.cpp-avx2:{kind}"
        else:
            missing = (
                f"no llama-server on the path or by --llama-server; xllamacpp: {why_not(options.peers, 'xllamacpp')}"
            )
            command, called = [found(compiled, missing)], name
        model = weights.gguf_file(options.cache, kind)
        return ServerContestant(llama_server(called, command, model, options.threads), options.favour)

    return FieldEntry(name, make)


def transformers_serve() -> FieldEntry:
    def make(options: BenchmarkOptions) -> Contestant:
        beside = Path(sys.executable).with_name("transformers")
        command = found(str(beside), "no `transformers` command beside this Python")
        model = weights.hf_folder(options.cache, endless=True)
        return ServerContestant(transformers_server(command, model, options.threads), options.favour)

    return FieldEntry("transformers-serve:bf16", make, slow=True)


def service(precision: str, runner: str = "torch") -> FieldEntry:
    name = OURS[runner] + precision

    def make(options: BenchmarkOptions) -> Contestant:
        check_runner(runner)
        worker = {"PANDAGPT_WORKER_DTYPE": DTYPES[precision], "PANDAGPT_WORKER_RUNNER": runner}
        env = {**worker, **sizes(options)}
        return ServerContestant(service_server(name, service_folder(options.cache), env), options.favour)

    return FieldEntry(name, make, slow=precision != "fp32")


def service_as_served() -> FieldEntry:
    return FieldEntry(AS_SERVED, lambda options: as_served(service_folder(options.cache), options), slow=True)


def as_served(model: Path, options: BenchmarkOptions) -> ServerContestant:
    """The service over a model folder as `make serve` runs it: nothing is named."""
    threads = own_threads(options)
    env = {"PANDAGPT_WORKER_THREADS": str(threads)} if threads else {}
    return ServerContestant(service_server(AS_SERVED, model, env), options.favour)


ENGINES: Sequence[FieldEntry] = (
    engine_as_served(),
    *(ours(*way) for way in WAYS),
    transformers("generate", "fp32"),
    transformers("generate", "bf16"),
    transformers("continuous", "bf16"),
    *(openvino(kind) for kind in OPENVINO_KINDS),
    *(converted(peer, precision) for peer in (CTRANSLATE2, ONNXRUNTIME_GENAI) for precision in peer.kinds),
    vllm(endless=False),
    *(llama(kind) for kind in LLAMA_KINDS),
)
SERVERS: Sequence[FieldEntry] = (
    service_as_served(),
    *(service(*way) for way in WAYS),
    vllm(endless=True),
    *(llama(kind) for kind in LLAMA_KINDS),
    transformers_serve(),
)


def assemble(entries: Sequence[FieldEntry], options: BenchmarkOptions) -> tuple[list[Contestant], dict[str, str]]:
    """The contestants to measure, and the absent ones with the reason."""
    present: list[Contestant] = []
    absent: dict[str, str] = {}
    for entry in entries:
        if not options.wants(entry.name):
            absent[entry.name] = "left out by --only"
        elif options.quick and entry.slow and not options.only:
            absent[entry.name] = "left out by --quick"
        else:
            try:
                present.append(entry.make(options))
            except Absent as reason:
                absent[entry.name] = str(reason)
    return present, absent


def check_runner(runner: str) -> None:
    """Raises Absent for OpenVINO where it is not installed."""
    if runner == "openvino" and not installed():
        raise Absent("no openvino beside this Python: pip install -e '.[openvino]'")


def vllm_server(python: str, model: Path, threads: int) -> Server:
    env = {
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "HF_HUB_OFFLINE": "1",
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")]),
    }

    def spec(port: int) -> ContestantSpec:
        module = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--served-model-name", "bench"]
        sizes = ["--max-model-len", str(CONTEXT), "--max-num-seqs", str(MAX_RUNNING), "--no-enable-prefix-caching"]
        place = ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
        return ContestantSpec([python, *module, *sizes, *place], env)

    ignore = {"ignore_eos": True}
    return Server("vllm:bf16", spec, chat=ignore, ids_path="/v1/completions", ids=ignore)


def llama_server(name: str, command: Sequence[str], model: Path, threads: int) -> Server:
    def spec(port: int) -> ContestantSpec:
        sizes = ["--ctx-size", str(CONTEXT * MAX_RUNNING), "--parallel", str(MAX_RUNNING), "--threads", str(threads)]
        return ContestantSpec([*command, "--model", str(model), "--host", "127.0.0.1", "--port", str(port), *sizes])

    chat = {"ignore_eos": True, "cache_prompt": False}
    return Server(name, spec, chat=chat, ids_path="/completion", ids=chat, ids_key="n_predict")


def transformers_server(command: str, model: Path, threads: int) -> Server:
    env = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}

    def spec(port: int) -> ContestantSpec:
        sizes = ["--continuous-batching", "--cb-num-blocks", "64", "--cb-max-batch-tokens", "512"]
        place = ["--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16", "--device", "cpu"]
        return ContestantSpec([command, "serve", str(model), *sizes, *place], env)

    # The server ends answers by its own settings; the weights hold no end that could be chosen.
    return Server("transformers-serve:bf16", spec, model=str(model), chat={"generation_config": json.dumps(_GREEDY)})


_GREEDY = {"do_sample": False}


def sizes(options: BenchmarkOptions) -> dict[str, str]:
    """Room and threads as the peers have them."""
    return {
        "OMP_NUM_THREADS": str(options.threads),
        "PANDAGPT_WORKER_THREADS": str(options.threads),
        "PANDAGPT_WORKER_MAX_SEQUENCES": str(MAX_RUNNING),
        "PANDAGPT_WORKER_MAX_MODEL_LEN": str(CONTEXT),
        "PANDAGPT_WORKER_STEP_TOKENS": str(options.prefill),
    }


def service_server(name: str, folder: Path, env: Mapping[str, str], device: str = "cpu") -> Server:
    """env: settings beyond those of any service that a benchmark starts."""

    def spec(port: int) -> ContestantSpec:
        command = [sys.executable, "-m", "service.cli", "serve", "--model", str(folder), "--device", device]
        quiet = {"PANDAGPT_LOG_LEVEL": "warning"}
        return ContestantSpec([*command, "--port", str(port)], {**env, **quiet}, scratch="PANDAGPT_LOCAL_STATE")

    return Server(name, spec, ready="/health/ready", model=folder.name, facts=choice)
