"""Every error a caller can cause or must see. Standard library only.

PandaGPTError
├── InvalidRequest            a field is wrong or out of range
│   ├── ContextLengthExceeded the prompt and the answer do not fit the model
│   └── UnsupportedModality   the model has no tower for this medium
├── InvalidMedia              bytes that are not the medium they claim to be, or beyond a limit
├── CheckpointError           model files that do not hold what they must
│   ├── KeyMismatch           keys missing, left over or misshapen; lists them
│   └── DigestMismatch        a file is not the one its manifest names
└── EngineError               the engine refused or lost a sequence
    ├── EngineDead            the engine is gone and takes its worker with it
    └── ModelFault            the model's own weights give numbers that are not finite

Messages name the limit and the value. They hold no path of the server, no address and no text of the caller.
"""

from collections.abc import Mapping, Sequence

KEYS_SHOWN = 8  # of each kind, in the message of a KeyMismatch; the exception holds them all


class PandaGPTError(Exception):
    """Base of all errors of this project. `code` is the machine-readable name that reaches the caller."""

    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(PandaGPTError):
    code = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"

    @classmethod
    def of(cls, limit: int, found: str) -> "ContextLengthExceeded":
        """In OpenAI's words, by which clients know to go on with a shorter history or another model."""
        return cls(f"This model's maximum context length is {limit} tokens. However, {found}.", param="messages")


class UnsupportedModality(InvalidRequest):
    code = "unsupported_modality"


class InvalidMedia(PandaGPTError):
    code = "invalid_media"


class CheckpointError(PandaGPTError):
    code = "checkpoint_error"


class KeyMismatch(CheckpointError):
    """A checkpoint whose keys are not the model's. `misshapen` maps a key to (found shape, expected shape)."""

    def __init__(
        self,
        what: str,
        *,
        missing: Sequence[str] = (),
        left_over: Sequence[str] = (),
        misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
    ) -> None:
        self.missing = tuple(missing)
        self.left_over = tuple(left_over)
        self.misshapen = dict(misshapen or {})
        lines = [f"{what}: the keys do not match"]
        lines += _shown([f"  missing: {key}" for key in self.missing])
        lines += _shown([f"  left over: {key}" for key in self.left_over])
        shapes = [f"  misshapen: {key} is {found}, expected {want}" for key, (found, want) in self.misshapen.items()]
        super().__init__("\n".join([*lines, *_shown(shapes)]))


def _shown(lines: list[str]) -> list[str]:
    """Some, and how many more there are: hundreds of lines help less than one."""
    if len(lines) <= KEYS_SHOWN:
        return lines
    kind = lines[0].partition(":")[0]
    return [*lines[:KEYS_SHOWN], f"{kind}: {len(lines) - KEYS_SHOWN} more"]


class DigestMismatch(CheckpointError):
    pass


class EngineError(PandaGPTError):
    code = "engine_error"


class ModelFault(EngineError):
    """Sound inputs and numbers that are not finite: the weights are at fault, and no caller can help it."""


class EngineDead(EngineError):
    """No sequence is to blame and none can go on here: the worker must end, so that another takes them over."""
