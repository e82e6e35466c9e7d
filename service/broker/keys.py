"""Every key of the store: its name, type, owner, size and life.

`pandagpt` stands for the store's namespace, `<lane>` for `interactive` or `batch`. A hash tag `{...}` puts keys that
one script touches into one Redis Cluster slot; no command spans two tags. Every key but the salt has an expiry. Those
of a model are refreshed (`QUEUE_LIFE`) by every submit and heartbeat; a queue that sees neither for so long holds only
requests whose deadlines are long history. Those of a request live until `request_ttl_s` after its deadline.

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
    One medium's rows [n, E] with their shape and dtype: 4 KB for n = 1. Written by workers.
pandagpt:wake:{gateway}         stream; life 60 s, refreshed
    One empty entry; ends that gateway's blocking read when there is a new stream to follow. Written by that gateway.

Of gateways alone:

pandagpt:note:{request}         hash; life as the request's record at least
    `answer` (how to fold the events, MessagePack, under 300 B), `readers` (who read now), `attached` (who ever
    did), `grace` (seconds that the request lives on without readers).
pandagpt:salt                   string; no expiry
    32 random bytes that separate tenants, where the settings give no salt. Written once, by the first gateway.
pandagpt:files:{tenant}         hash; life `file_ttl_s` from the last upload
    File id -> what is known of it, under 400 B; at most `max_files`. Expired entries go when it is read.
pandagpt:file:{tenant}:<id>     list; life `file_ttl_s`
    A file in pieces of 1 MiB, which keep any one answer of the store small.
pandagpt:rate:{tenant}          hash; life until both are full, and a minute
    What is left of the key's requests and tokens a minute, and when that was (rate.lua); under 100 B.
pandagpt:running:{tenant}       sorted set; life LEASE
    Request in hand -> Unix ms until which it counts, refreshed by its gateway; at most `max_concurrent` (rate.lua).
pandagpt:retry:{tenant}:<hash>  string; life as the request's record at least
    Of an `Idempotency-Key`: the request's id and its body's hash, 100 B (claim.lua).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pandagpt_core.types import Priority

GROUP = "workers"
RETURNED = "returned"  # the consumer that holds what a draining worker handed back, until anyone claims it
PRIORITIES: Sequence[Priority] = ("interactive", "batch")  # in the order they are served
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

    def note(self, request_id: str) -> str:
        return self._key("note", request_id)

    @property
    def salt(self) -> str:
        return f"{self.namespace}:salt"

    def files(self, tenant: str) -> str:
        return self._key("files", tenant)

    def file(self, tenant: str, file_id: str) -> str:
        return self._key("file", tenant, f":{file_id}")

    def rate(self, tenant: str) -> str:
        return self._key("rate", tenant)

    def running(self, tenant: str) -> str:
        return self._key("running", tenant)

    def retry(self, tenant: str, digest: str) -> str:
        return self._key("retry", tenant, f":{digest}")
