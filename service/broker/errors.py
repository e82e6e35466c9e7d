"""Errors of the store and the queue. `code` is the row of the error table, `retry_after` in seconds.

PandaGPTError
└── BrokerError
    ├── StoreUnavailable    the store does not answer, or not now
    │   ├── StoreRefused    it answers, and does not let us in (password, permissions)
    │   ├── StoreFull       it has no memory left
    │   └── StoreTooOld     it is older than what the queue needs
    ├── Overloaded          the model's queue is full, by count or by bytes
    ├── NoWorker            no live worker serves the model
    │   └── WorkersSilent   those that do gave no sign of life in time
    ├── Draining            every live worker of the model is going away
    ├── UnknownRequest      no request of this id, or not this caller's
    └── DuplicateRequest    a request of this id was already taken in

RequestLost never reaches a caller: another worker has the request now.
"""

from pandagpt_core.errors import PandaGPTError


class BrokerError(PandaGPTError):
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """The message, and the remedy where there is one, for a line of the log."""
        return self.message


class StoreUnavailable(BrokerError):
    """`advice` is an operator's remedy, for the log. It never reaches a caller. `passing`: the store may answer in a
    moment, as one that restarts does."""

    code = "store_unavailable"
    retry_after = 2.0

    def __init__(self, message: str, *, advice: str = "", passing: bool = False) -> None:
        super().__init__(message)
        self.advice, self.passing = advice, passing

    @property
    def reason(self) -> str:
        return f"{self.message}: {self.advice}" if self.advice else self.message


class StoreRefused(StoreUnavailable):
    pass


class StoreFull(StoreUnavailable):
    pass


class StoreTooOld(StoreUnavailable):
    pass


class Overloaded(BrokerError):
    code = "overloaded"
    retry_after = 1.0


class NoWorker(BrokerError):
    code = "no_worker"
    retry_after = 5.0


class WorkersSilent(NoWorker):
    """Workers of the model are announced, and none gave a sign of life in time. Either they died, or the store stood
    still: its clock went on meanwhile, and they announce themselves in a moment."""


class Draining(BrokerError):
    code = "draining"
    retry_after = 2.0


class UnknownRequest(BrokerError):
    code = "request_not_found"


class DuplicateRequest(BrokerError):
    code = "invalid_request"


class RequestLost(Exception):
    """The store refused this worker's entry: another attempt or an end stands in the stream."""
