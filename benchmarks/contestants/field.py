"""The list of contestants: what is measured in `engine.py` and `http.py`, in which precision, and how it is started."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants.base import Contestant, ContestantSpec, PipeContestant
from benchmarks.contestants.servers import Server, ServerContestant
from benchmarks.contestants.service_folder import service_folder
from benchmarks.lib import weights
from benchmarks.lib.absent import Absent
from benchmarks.lib.options import BenchmarkOptions
from pandagpt_core.llm.openvino import installed

MAX_RUNNING = 32
CONTEXT = 512  # tokens of prompt and answer that each contestant has room for
PRECISIONS = ("fp32", "bf16", "int8")
OURS = {"torch": "ours:", "openvino": "ours-openvino:", "auto": "ours-as-served:"}  # by what computes the steps
WAYS = (*((precision, runner) for runner in ("torch", "openvino") for precision in PRECISIONS), ("auto", "auto"))
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8", "auto": "auto"}
LLAMA_KINDS = ("q8_0", "bf16")
PREBUILT = Path(__file__).with_name("xllamacpp_serve.py")


@dataclass(frozen=True, slots=True)
class FieldEntry:
    """`make` raises Absent where something it needs is not there. `slow`: left out by --quick."""

    name: str
    make: Callable[[BenchmarkOptions], Contestant]
    slow: bool = False


def ours(precision: str, runner: str = "torch") -> FieldEntry:
    name = OURS[runner] + precision

    def make(options: BenchmarkOptions) -> Contestant:
        check_runner(runner)
        sizes = {"max_running": MAX_RUNNING, "prefill": options.prefill, "context": CONTEXT}
        settings = {"model": str(weights.source()), "precision": precision, "runner": runner, **sizes}
        return PipeContestant(name, sys.executable, "benchmarks.contestants.ours_child", settings, options)

    return FieldEntry(name, make)


def transformers(kind: str, precision: str) -> FieldEntry:
    name = f"transformers-{kind}:{precision}"

    def make(options: BenchmarkOptions) -> Contestant:
        settings = {"model": str(weights.hf_folder(options.cache, endless=False)), "precision": precision}
        module = f"benchmarks.contestants.{kind}_child"
        return PipeContestant(name, sys.executable, module, settings, options)

    return FieldEntry(name, make, slow=precision == "fp32")


def openvino() -> FieldEntry:
    def make(options: BenchmarkOptions) -> Contestant:
        python = found(options.python_openvino, "--openvino-python names no Python with openvino-genai")
        settings = {"model": str(weights.gguf_file(options.cache, "f16")), "max_running": MAX_RUNNING}
        return PipeContestant("openvino:f16", python, "benchmarks.contestants.openvino_child", settings, options)

    return FieldEntry("openvino:f16", make)


def vllm(*, endless: bool) -> FieldEntry:
    def make(options: BenchmarkOptions) -> Contestant:
        python = found(options.python_vllm, "--vllm-python names no Python with vllm")
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
            missing = "no llama-server on the path or by --llama-server, no xllamacpp in the folder of --peers"
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
        return ServerContestant(service_server(name, service_folder(options.cache), worker, options), options.favour)

    return FieldEntry(name, make, slow=precision != "fp32")


def as_served(model: Path, options: BenchmarkOptions) -> ServerContestant:
    """The service over a model folder as `make serve` runs it: nothing is named."""
    return ServerContestant(service_server(OURS["auto"] + "auto", model, {}, options), options.favour)


ENGINES: Sequence[FieldEntry] = (
    *(ours(*way) for way in WAYS),
    transformers("generate", "fp32"),
    transformers("generate", "bf16"),
    transformers("continuous", "bf16"),
    openvino(),
    vllm(endless=False),
    *(llama(kind) for kind in LLAMA_KINDS),
)
SERVERS: Sequence[FieldEntry] = (
    *(service(*way) for way in WAYS),
    vllm(endless=True),
    *(llama(kind) for kind in LLAMA_KINDS),
    transformers_serve(),
)


def assemble(entries: Sequence[FieldEntry], options: BenchmarkOptions) -> tuple[list[Contestant], dict[str, str]]:
    """Those to be measured, and the others with the reason."""
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


def found(program: str | None, otherwise: str) -> str:
    """The program's path. Raises Absent with the sentence `otherwise` where there is none."""
    path = shutil.which(program) if program else None
    if path is None:
        raise Absent(otherwise)
    return path


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

    # It decides by its own settings when an answer ends; the weights hold no end that could be chosen.
    return Server("transformers-serve:bf16", spec, model=str(model), chat={"generation_config": json.dumps(_GREEDY)})


_GREEDY = {"do_sample": False}


def service_server(name: str, folder: Path, worker: Mapping[str, str], options: BenchmarkOptions) -> Server:
    def spec(port: int) -> ContestantSpec:
        env = {
            "OMP_NUM_THREADS": str(options.threads),
            **worker,
            "PANDAGPT_WORKER_THREADS": str(options.threads),
            "PANDAGPT_WORKER_MAX_SEQUENCES": str(MAX_RUNNING),
            "PANDAGPT_WORKER_MAX_MODEL_LEN": str(CONTEXT),
            "PANDAGPT_WORKER_STEP_TOKENS": str(options.prefill),
            "PANDAGPT_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "service.cli", "serve", "--model", str(folder), "--device", "cpu"]
        return ContestantSpec([*command, "--port", str(port)], env, scratch="PANDAGPT_LOCAL_STATE")

    return Server(name, spec, ready="/health/ready", model=folder.name)
