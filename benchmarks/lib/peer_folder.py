"""The folder of peers: one environment each, made by `benchmarks.peers` and found there by the benchmarks."""

from pathlib import Path

PEERS = ("openvino", "vllm", "xllamacpp", "ctranslate2", "onnxruntime-genai")


def python_of(folder: Path, name: str) -> Path:
    """The Python of a peer's environment, whether it is there or not."""
    return folder.absolute() / name / "bin" / "python"


def reason_file(folder: Path, name: str) -> Path:
    """Holds the reason where the installation failed."""
    return folder / f"{name}.failed"


def why_not(folder: Path | None, name: str) -> str:
    """The reason why a peer is not there."""
    if folder is None:
        return "no --peers names a folder made by benchmarks.peers"
    try:
        return f"it did not install: {reason_file(folder, name).read_text(encoding='utf-8').strip()}"
    except OSError:
        return f"the folder of --peers has no environment {name}"
