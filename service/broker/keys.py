"""Every key of the store: its name, type, writer, size and life.

`pandagpt` stands for the store's namespace, `<priority>` for `interactive` or `batch`. A hash tag `{...}` puts keys
into one Redis Cluster slot; no command spans two tags. `{tag}` is a short hash of the model's name (`model_tag`). The
id of a request contains it (`new_request_id`), so one script can write the request's record and its queue entry, and
the id alone leads to the record.

Every key but the salt has an expiry. The keys of a model get `QUEUE_LIFE` again at every submit and heartbeat. The keys
of a request live until `request_ttl_s` after its deadline.

pandagpt:queue:<model>:{tag}:<priority>    stream, group `workers`; life QUEUE_LIFE
    One request an entry (fields `request`, `cost`), a few KB each; at most `max_queue` wait, besides those that run.
    Gateways add entries by admit.lua; the process that ends a request removes its entry by settle.lua.
pandagpt:load:<model>:{tag}:<priority>     integer; life QUEUE_LIFE
    Bytes that the unfinished requests of the queue hold, arrays included. Written by the same two scripts.
pandagpt:waiting:<model>:{tag}:<priority>  sorted set; life QUEUE_LIFE
    The ids of the queue's entries that no worker was given, by their turns; at most `max_queue`. Written by admit.lua,
    take.lua and settle.lua, read by position.lua.
pandagpt:turns:<model>:{tag}:<priority>    hash; life QUEUE_LIFE, deleted when nothing waits
    Share of a caller -> the turn of its last request, and `now`, the turn that was served last. Written by admit.lua
    and take.lua.
pandagpt:ready:<model>:{tag}, pandagpt:draining:<model>:{tag}    sorted sets; life QUEUE_LIFE
    Worker -> Unix ms until which it takes, or only finishes, requests. Written by workers (announce.lua).
pandagpt:workers:<model>:{tag}             hash; life QUEUE_LIFE
    Worker -> its announcement, under 2 KB. Written by workers (announce.lua).
pandagpt:known:<model>:{tag}               string; life KNOWN_LIFE from the last sign of life of any worker
    The last announcement of a worker, under 2 KB, for requests that wait for the first worker of a model that scales
    from zero. Written by workers (announce.lua).
pandagpt:models                            sorted set; life QUEUE_LIFE
    Model -> Unix ms until which some worker of it lives; 0 where requests wait for its first. Written by workers, and
    by gateways for models that scale from zero.
pandagpt:cancels:<model>:{tag}             stream; life QUEUE_LIFE
    The id of each cancelled request, about the last 10,000. Written by gateways, read by workers at every step.
pandagpt:dead:<model>:{tag}                stream; life DEAD_LIFE from its last entry
    Requests that were given up (`reason`, `at`, `request`), about the last `dead_letters`. Written by settle.lua;
    admit.lua takes one out that is queued anew.
pandagpt:record:{tag}:<request>            hash; life of a request, at least `request_ttl_s` from its last reader
    tenant, model, priority, created, deadline, entry, cancelled; `response` (how to fold the events, MessagePack),
    `readers` (clients that read now), `attached` (clients that ever read), `came:<name>` (of a client that came
    to read), `left:<name>` (when a client left), `grace` (seconds that the request lives without readers); under 800 B,
    and 40 B for each of these clients that reads or left within a minute. Written by gateways; admit.lua creates it
    together with the queue entry, attach.lua and depart.lua count readers.
pandagpt:events:{request}                  stream; life of a request
    Lists of events (field `events`) under ids `<attempt>-<n>`; about 80 B a token. Written by one worker at a time,
    or by a gateway that ends a request which no worker will end. forget.lua deletes those of a dead letter that is
    queued anew.
pandagpt:array:{media}                     string; life `array_ttl_s`, deleted once encoded
    One encoder input, up to 20 MB. Written by gateways.
pandagpt:embedding:{media}                 string; life `embedding_ttl_s` from its last use
    One medium's rows [n, E] with their shape and dtype: 4 KB for n = 1; or the speech in a sound as text, under 4 KB.
    Written by workers, and by gateways for a vector that a caller gave.
pandagpt:media_notes:{media}               string; life `embedding_ttl_s`
    Notes of a medium's reader: warnings, spans of time; under 4 KB, MessagePack. Written by gateways.
pandagpt:large                             sorted set; life `embedding_ttl_s` from the last change
    Embeddings of 64 KiB and more, as `<media>|<bytes>`, by the time of their last use, within `embedding_cache_bytes`.
    Written by workers.
pandagpt:wake:{gateway}                    stream; life 60 s, refreshed
    One empty entry; it ends that gateway's blocking read when there is a new stream to follow. Written by that gateway.

Only gateways use:

pandagpt:probe                             string; life 60 s
    Nothing. Written by gateways and workers to see whether the store takes writes and permits their commands.
pandagpt:salt                              string; no expiry
    32 random bytes that separate tenants, where the settings give no salt. Written by the first gateway, and
    by those that know it into a store that lost it.
pandagpt:files:{tenant}                    hash; life `file_ttl_s` and a batch's longest window from the last upload
    File id -> its metadata, under 400 B; at most `max_files`. Expired entries are removed when the hash is read.
pandagpt:file:{tenant}:<id>                list; life `file_ttl_s`; as a batch's input, until after the batch's window
    A file in pieces of 1 MiB, which keep any one answer of the store small.
pandagpt:media_uuid:{tenant}:<hash>        string; life `embedding_ttl_s` from its last use
    A caller's name (`uuid`) of a medium -> the SHA-256 of its bytes, 64 B. Written by gateways.
pandagpt:picture:{request}                 string; life as the request's record at least
    A picture as it was sent, at most 16 MiB, to be drawn on: of requests with `annotate` alone.
pandagpt:response:{request}                string; life as the request's record at least
    Of /v1/responses: the conversation that a later response may go on with, media among it up to 16 MiB, MessagePack.
    delete.lua deletes it with the request's events and picture.
pandagpt:batches                           sorted set; life as long as any batch's
    The batches that have not ended, by the time of their creation.
pandagpt:batches_of:{tenant}               sorted set; life as long as any batch's from the tenant's last one
    The tenant's batches, by the time of their creation. A new entry removes those that no batch outlives.
pandagpt:batch:{batch}                     hash; life `file_ttl_s` from the end of the batch's window
    The caller's body (`batch`, MessagePack, under 1 KB), `status`, counts of lines, `bytes` of their results, the times
    of each status (advance.lua, record.lua).
pandagpt:batch_results:{batch}             hash; life as the batch, an hour from its end
    Number of a line -> `o` or `e` and its result, a line of JSON; written once each (record.lua).
pandagpt:batch_lease                       string; life 10 s, refreshed
    The gateway that runs batches (claim.lua, release.lua).
pandagpt:rate:{tenant}                     hash; life until both are full, and a minute
    The rest of the key's requests and tokens a minute, and its time (rate.lua); under 100 B.
pandagpt:running:{tenant}                  sorted set; life LEASE
    Request -> Unix ms until which it counts, refreshed by its gateway; less than 0 once it has ended, as long as a late
    command may name it. Entries of `LEASE` or younger (rate.lua).
pandagpt:retry:{tenant}:<hash>             string; life as the request's record at least
    Of an `Idempotency-Key`: the request's id, its body's hash and how often it was sent in again, 100 B (claim.lua).
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import quote

from pandagpt_core.types import Priority

GROUP = "workers"
RETURNED = "returned"  # the consumer that holds what a draining worker handed back, until another worker claims it
PRIORITIES: Sequence[Priority] = ("interactive", "batch")  # in the order they are served
QUEUE_LIFE = 86_400  # seconds; longer than any deadline
DEAD_LIFE = 7 * 86_400  # seconds
KNOWN_LIFE = 90 * 86_400  # seconds
SILENT_LIFE = 300  # seconds in which a worker that gave no sign of life may be one that the store missed
CANCELS_KEPT = 10_000
TAG_CHARS = 8


def model_tag(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:TAG_CHARS]


def new_request_id(kind: str, model: str) -> str:
    """A fresh id for a request to the model: `<kind>-<tag of the model><24 random hexadecimal digits>`."""
    return f"{kind}-{model_tag(model)}{secrets.token_hex(12)}"


def tag_of(request_id: str) -> str:
    return request_id.rpartition("-")[2][:TAG_CHARS]


@dataclass(frozen=True, slots=True)
class Keys:
    """The names above, within one namespace."""

    namespace: str = "pandagpt"

    def _key(self, kind: str, tag: str, suffix: str = "") -> str:
        # Braces inside a name would move the hash tag; quoting leaves ordinary names as they are.
        return f"{self.namespace}:{kind}:{{{_quoted(tag)}}}{suffix}"

    def _model_key(self, kind: str, model: str, suffix: str = "") -> str:
        return f"{self.namespace}:{kind}:{_quoted(model)}:{{{model_tag(model)}}}{suffix}"

    @property
    def models(self) -> str:
        return f"{self.namespace}:models"

    def queue(self, model: str, priority: Priority) -> str:
        return self._model_key("queue", model, f":{priority}")

    def load(self, model: str, priority: Priority) -> str:
        return self._model_key("load", model, f":{priority}")

    def waiting(self, model: str, priority: Priority) -> str:
        return self._model_key("waiting", model, f":{priority}")

    def turns(self, model: str, priority: Priority) -> str:
        return self._model_key("turns", model, f":{priority}")

    @lru_cache(maxsize=256)  # noqa: B019  the instance is a namespace, and lives as long as the process
    def admission(self, model: str, priority: Priority) -> tuple[str, ...]:
        """The keys of admit.lua in its order, but for a request's own. Kept: three SHA-256 and six quotings."""
        lane = (self.queue(model, priority), self.load(model, priority))
        turns = (self.waiting(model, priority), self.turns(model, priority))
        return (*lane, self.ready(model), self.draining(model), *turns)

    def ready(self, model: str) -> str:
        return self._model_key("ready", model)

    def draining(self, model: str) -> str:
        return self._model_key("draining", model)

    def workers(self, model: str) -> str:
        return self._model_key("workers", model)

    def known(self, model: str) -> str:
        return self._model_key("known", model)

    def cancels(self, model: str) -> str:
        return self._model_key("cancels", model)

    def dead(self, model: str) -> str:
        return self._model_key("dead", model)

    def record(self, request_id: str) -> str:
        return self._key("record", tag_of(request_id), f":{_quoted(request_id)}")

    def events(self, request_id: str) -> str:
        return self._key("events", request_id)

    # Of media: functions from a medium's name, which is hexadecimal and needs no quotes.

    @property
    def array(self) -> Callable[[str], str]:
        return self._of_medium("array")

    @property
    def media_notes(self) -> Callable[[str], str]:
        return self._of_medium("media_notes")

    @property
    def embedding(self) -> Callable[[str], str]:
        return self._of_medium("embedding")

    def _of_medium(self, kind: str) -> Callable[[str], str]:
        return partial("{}:{}:{{{}}}".format, self.namespace, kind)

    @property
    def large(self) -> str:
        return f"{self.namespace}:large"

    def wake(self, gateway: str) -> str:
        return self._key("wake", gateway)

    @property
    def probe(self) -> str:
        return f"{self.namespace}:{{probe}}"

    @property
    def salt(self) -> str:
        return f"{self.namespace}:salt"

    def files(self, tenant: str) -> str:
        return self._key("files", tenant)

    def file(self, tenant: str, file_id: str) -> str:
        return self._key("file", tenant, f":{file_id}")

    def media_uuid(self, tenant: str, uuid: str) -> str:
        return self._key("media_uuid", tenant, f":{hashlib.sha256(uuid.encode()).hexdigest()[:32]}")

    def picture(self, request_id: str) -> str:
        return self._key("picture", request_id)

    def response(self, request_id: str) -> str:
        return self._key("response", request_id)

    @property
    def batches(self) -> str:
        return f"{self.namespace}:batches"

    def batches_of(self, tenant: str) -> str:
        return self._key("batches_of", tenant)

    def batch(self, batch_id: str) -> str:
        return self._key("batch", batch_id)

    def batch_results(self, batch_id: str) -> str:
        return self._key("batch_results", batch_id)

    @property
    def batch_lease(self) -> str:
        return f"{self.namespace}:batch_lease"

    def rate(self, tenant: str) -> str:
        return self._key("rate", tenant)

    def running(self, tenant: str) -> str:
        return self._key("running", tenant)

    def retry(self, tenant: str, digest: str) -> str:
        return self._key("retry", tenant, f":{digest}")


def settle_keys(keys: Keys, model: str, priority: Priority) -> tuple[str, ...]:
    """The keys of settle.lua."""
    return (keys.queue(model, priority), keys.load(model, priority), keys.dead(model), keys.waiting(model, priority))


def _quoted(name: str) -> str:
    return quote(name, safe="/.:@-_")
