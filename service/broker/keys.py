"""Every key of the store: its name, type, owner, size and life.

`pandagpt` stands for the store's namespace, `<lane>` for `interactive` or `batch`. A hash tag `{...}` puts keys that
one script touches into one Redis Cluster slot; no command spans two tags. Every key has an expiry. Those of a model
are refreshed (`QUEUE_LIFE`) by every submit and heartbeat; a queue that sees neither for so long holds only requests
whose deadlines are long past. Those of a request live until `request_ttl_s` after its deadline.

pandagpt:queue:{model}:<lane>   stream, group `workers`; life QUEUE_LIFE
    A request an entry (fields `request`, `cost`), a few KB each; at most `max_queue` wait, besides those that run.
    Gateways add by admit.lua; whoever ends a request takes it off by settle.lua.
pandagpt:load:{model}:<lane>    integer; life QUEUE_LIFE
    Bytes that the lane's unfinished requests hold, arrays included. Written by the same two scripts.
pandagpt:ready:{model}, pandagpt:draining:{model}    sorted sets; life QUEUE_LIFE
    Worker -> Unix ms until which it takes, or only finishes, requests. Written by workers (announce.lua).
pandagpt:workers:{model}        hash; life QUEUE_LIFE
    Worker -> its announcement, under 2 KB. Written by workers (announce.lua).
pandagpt:models                 sorted set; life QUEUE_LIFE
    Model -> Unix ms until which some worker of it lives. Written by workers.
pandagpt:cancels:{model}        stream; life QUEUE_LIFE
    The id of each cancelled request, the last 10,000 or so. Written by gateways, read by workers at every step.
pandagpt:dead:{model}           stream; life DEAD_LIFE from its last entry
    Given-up requests (`reason`, `at`, `request`), the last `dead_letters` or so. Written by settle.lua.
pandagpt:record:{request}       hash; life of a request
    tenant, model, lane, created, deadline, n, entry, cancelled; under 500 B. Written by gateways.
pandagpt:events:{request}       stream; life of a request
    Lists of events (field `events`) under ids `<attempt>-<n>`; about 80 B a token. Written by one worker at a time,
    or by a gateway that ends a request no worker will.
pandagpt:array:{media}          string; life `array_ttl_s`, gone once encoded
    One encoder input, up to 20 MB. Written by gateways.
pandagpt:embedding:{media}      string; life `embedding_ttl_s` from its last use
    One embedding, about 4 KB. Written by workers.
pandagpt:wake:{gateway}         stream; life 60 s, refreshed
    One empty entry; ends that gateway's blocking read when there is a new stream to follow. Written by that gateway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pandagpt_core.types import Priority

GROUP = "workers"
RETURNED = "returned"  # the consumer that holds what a draining worker handed back, until anyone claims it
LANES: Sequence[Priority] = ("interactive", "batch")  # in the order they are served
QUEUE_LIFE = 86_400  # seconds; longer than any deadline
DEAD_LIFE = 7 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Keys:
    """The names above, within one namespace."""

    namespace: str = "pandagpt"

    def _key(self, kind: str, tag: str, suffix: str = "") -> str:
        # Braces inside a name would move the hash tag; quoting leaves ordinary names as they are.
        return f"{self.namespace}:{kind}:{{{quote(tag, safe='/.:@-_')}}}{suffix}"

    @property
    def models(self) -> str:
        return f"{self.namespace}:models"

    def queue(self, model: str, lane: Priority) -> str:
        return self._key("queue", model, f":{lane}")

    def load(self, model: str, lane: Priority) -> str:
        return self._key("load", model, f":{lane}")

    def ready(self, model: str) -> str:
        return self._key("ready", model)

    def draining(self, model: str) -> str:
        return self._key("draining", model)

    def workers(self, model: str) -> str:
        return self._key("workers", model)

    def cancels(self, model: str) -> str:
        return self._key("cancels", model)

    def dead(self, model: str) -> str:
        return self._key("dead", model)

    def record(self, request_id: str) -> str:
        return self._key("record", request_id)

    def events(self, request_id: str) -> str:
        return self._key("events", request_id)

    def array(self, media_name: str) -> str:
        return self._key("array", media_name)

    def embedding(self, media_name: str) -> str:
        return self._key("embedding", media_name)

    def wake(self, gateway: str) -> str:
        return self._key("wake", gateway)
