"""The state for going on with an alignment: one file, OUT/checkpoint.pt, of the newest step that was kept; whole or
absent.

It holds the tower's weights, the temperature and the optimizer's state. All else follows from the settings and the
step.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from pandagpt_core.checkpoints import ModelFolder
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.training.align.pairs import AlignPair
from pandagpt_core.training.align.settings import AlignSettings
from pandagpt_core.training.tune.checkpoint import RunFingerprint, check_same
from pandagpt_core.training.tune.record import read_log

FILE = "checkpoint.pt"
_FREE = {"device", "threads", "checkpoint_every"}  # the losses do not depend on these


def run_fingerprint(settings: AlignSettings, folder: ModelFolder, pairs: Sequence[AlignPair]) -> RunFingerprint:
    """All values that the losses depend on, flat."""
    train = {f"train.{key}": value for key, value in msgspec.structs.asdict(settings.train).items()}
    stated = {key: value for key, value in train.items() if key.removeprefix("train.") not in _FREE}
    if settings.soft_tokens > 1:
        stated |= {"soft_tokens": settings.soft_tokens, "resampler": msgspec.to_builtins(settings.resampler)}
    digest = hashlib.sha256(msgspec.json.encode(pairs)).hexdigest()
    return {"modality": settings.modality, "encoder": folder.encoder_digest, "pairs": digest, **stated}


def refuse_to_write_over(out: Path) -> None:
    """Raise InvalidRequest where an alignment was begun."""
    logged = len(read_log(out))
    if (out / FILE).exists():
        raise InvalidRequest(f"{out} holds an alignment already; --resume goes on with it, another `out` begins anew")
    if logged:
        raise InvalidRequest(
            f"{out} holds the log of an alignment that ended after {logged} steps, before its first checkpoint; "
            "--resume begins it again, another `out` leaves it as it is"
        )


def save(
    out: Path, step: int, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer, fingerprint: RunFingerprint
) -> None:
    """Keep what `step` steps have made, in place of what was kept before."""
    held = {
        "step": step,
        "told": dict(fingerprint),
        "modules": [module.state_dict() for module in modules],
        "optimizer": optimizer.state_dict(),
    }
    half = out / f".{FILE}.partial"
    torch.save(held, half)
    half.replace(out / FILE)


def load(out: Path, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer, fingerprint: RunFingerprint) -> int:
    """Put back what was kept, if anything was; the number of steps behind it.

    Raises InvalidRequest for an alignment with other settings.
    """
    if not (out / FILE).exists():
        return 0
    held: dict[str, Any] = torch.load(out / FILE, map_location="cpu", weights_only=True)
    check_same(held["told"], fingerprint)
    for module, state in zip(modules, held["modules"], strict=True):
        module.load_state_dict(state)
    optimizer.load_state_dict(held["optimizer"])
    step: int = held["step"]
    return step
