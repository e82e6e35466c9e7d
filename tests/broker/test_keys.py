import re

from redis.crc import key_slot

from service.broker import keys as documented
from service.broker.gateway.client import Broker
from service.broker.keys import PRIORITIES, Keys, model_tag, new_request_id
from tests.conftest import Valkey
from tests.fakes import worker_thread
from tests.wire import generate, media, run

NAMES = re.findall(r"pandagpt:(\w+)", documented.__doc__ or "")


def test_every_key_that_the_class_makes_is_documented() -> None:
    made = {name for name, value in vars(Keys).items() if not name.startswith("_") and name != "namespace"}
    made -= {"admission"}  # several of the keys, for one script
    assert made == set(NAMES)


def test_the_keys_of_a_script_share_a_slot_whatever_the_model_is_called() -> None:
    for model in ("panda-mini", "org/model:7b", "a}b{c", "}", "{}", "ünï"):
        keys = Keys()
        group = [keys.ready(model), keys.draining(model), keys.workers(model), keys.cancels(model), keys.dead(model)]
        group += [keys.record(new_request_id("chatcmpl", model))]
        group += [make(model, lane) for make in (keys.queue, keys.load, keys.waiting) for lane in PRIORITIES]
        assert len({key_slot(key.encode()) for key in group}) == 1, model
        assert len(set(group)) == len(group)
    assert key_slot(Keys().array("m").encode()) == key_slot(Keys().embedding("m").encode())


def test_ordinary_names_stay_readable() -> None:
    tag = model_tag("org/panda-7b.v1")
    assert Keys("ns").queue("org/panda-7b.v1", "batch") == f"ns:queue:org/panda-7b.v1:{{{tag}}}:batch"


async def test_every_key_in_use_is_documented_and_expires(broker: Broker, valkey: Valkey) -> None:
    part, array = media(1)
    with worker_thread(valkey.settings):
        request = generate(media=[part])
        await run(broker, request, {part.blob: array})
        running = generate()
        await broker.submit(running)
        await broker.cancel(running.id, running.tenant)
        found = [key.decode() for key in valkey.client.scan_iter()]
        assert {key.split(":")[1] for key in found} >= {"queue", "record", "events", "embedding", "models", "ready"}
        assert {key.split(":")[1] for key in found} <= set(NAMES)
        eternal = [key for key in found if valkey.client.ttl(key) == -1]
        assert eternal == []
