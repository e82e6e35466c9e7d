"""The store's own errors by their code: the meaning of each for a caller, and an operator's remedy.

A code may stand first (plain commands), after the driver's words (in a pipeline: "Command # 2 (XADD ...) of pipeline
caused error: OOM ..."), or inside a script's error ("ERR Error running script ...: -READONLY ..."). So it is looked for
as a word. Only the table's words leave this file: an answer may hold keys and addresses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.broker.errors import StoreFull, StoreRefused, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Fault:
    kind: type[StoreUnavailable]
    message: str
    advice: str
    passing: bool = False


def _now(advice: str) -> Fault:
    return Fault(StoreUnavailable, "the store cannot serve now", advice)


def _soon(advice: str) -> Fault:
    """As a store in the middle of a start or a failover answers."""
    return Fault(StoreUnavailable, "the store cannot serve now", advice, passing=True)


def _refused(advice: str) -> Fault:
    return Fault(StoreRefused, "the store refused the credentials or the command", advice)


FAULTS: Mapping[str, Fault] = {
    "MISCONF": _now("the store cannot save to its disk: free space, or mend the folder's permissions"),
    "NOREPLICAS": _soon("too few replicas follow the store: start them, or lower min-replicas-to-write"),
    "READONLY": _soon("this store is a replica: let store.url name the master"),
    "LOADING": _soon("the store reads its data after a start; it answers when it has read them"),
    "MASTERDOWN": _soon("this replica has lost its master: let store.url name a master"),
    "MOVED": _now("the store is a cluster: set store.cluster"),
    "ASK": _now("the store is a cluster: set store.cluster"),
    "CROSSSLOT": _now("the store is a cluster: set store.cluster"),
    "CLUSTERDOWN": _soon("some of the cluster's slots have no master: look at CLUSTER INFO"),
    "TRYAGAIN": _soon("the cluster moves slots; it answers when that is done"),
    "BUSY": _now("a script blocks the store: look at its slow log, and at SCRIPT KILL"),
    "UNKILLABLE": _now("a script blocks the store and has written: only a restart ends it"),
    "UNBLOCKED": _soon("this store stopped being the master; the next master answers"),
    "OOM": Fault(StoreFull, "the store has no memory left", "raise maxmemory, or lower store.max_queue_bytes"),
    "NOAUTH": _refused("set store.username and store.password"),
    "WRONGPASS": _refused("store.username or store.password is wrong, or the user is off"),
    "NOPERM": _refused("the store's user lacks a command or key pattern: see deploy/valkey/users.acl"),
}
CERTIFICATE = Fault(
    StoreRefused, "the store's certificate is not accepted", "check the certificate's names, dates and authority"
)
CERTIFICATE_WANTED = Fault(
    StoreRefused, "the store wants a client's certificate", "set store.tls_cert_file and store.tls_key_file"
)
ENDED_TLS = Fault(
    StoreUnavailable,
    "the store ended the connection",
    "where it does so at every try, it may want a certificate: store.tls_cert_file and store.tls_key_file",
    passing=True,
)
NO_MASTER = _soon("no sentinel names a master: look at SENTINEL MASTERS, at store.sentinels and store.sentinel_master")
SENTINEL_REFUSED = _refused("set store.sentinel_username and store.sentinel_password as the sentinels want them")
_CODE = re.compile(r"(?<![A-Za-z])(" + "|".join(FAULTS) + r")(?![A-Za-z])")
_IN_A_SCRIPT = ("ACL failure in script", "executing script can't", "executing the script can't")


def fault_of(text: str) -> Fault | None:
    """The fault that an error's text names, if any."""
    if any(words in text for words in _IN_A_SCRIPT):
        return FAULTS["NOPERM"]
    found = _CODE.search(text)
    return FAULTS[found[1]] if found else None
