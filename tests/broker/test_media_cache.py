import msgspec
import numpy as np
import pytest

from service.broker.connection import connect, connect_async
from service.broker.keys import Keys
from service.broker.media_cache import (
    DROPPED_LIFE,
    LARGE,
    CorruptArray,
    EmbeddingCache,
    MediaCache,
    media_name,
    pack,
    unpack,
)
from tests.conftest import Valkey


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2),
        np.arange(77, dtype=np.int64).reshape(1, 77),
        np.zeros((0, 3), np.float32),
        np.arange(12, dtype=np.float16).reshape(3, 4),
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2],
    ],
)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    back = unpack(pack(array))
    assert back.shape == array.shape
    assert back.dtype.kind == array.dtype.kind
    np.testing.assert_array_equal(back, array)


def test_other_dtypes_do_not_travel() -> None:
    for array in (np.zeros(3), np.array([object()]), np.array(["x"])):
        with pytest.raises(TypeError, match=r"arrays are stored as .* not"):
            pack(array)


def test_bytes_that_are_no_array_are_refused() -> None:
    def header(**changed: object) -> bytes:
        fields = {"type": "array.v2", "dtype": "<f4", "shape": [2], "data": b"\0" * 8, **changed}
        return msgspec.msgpack.encode(fields)

    assert unpack(header()).tolist() == [0, 0]
    bad = [b"", b"\x80\x04", b"no array", header(dtype="O"), header(dtype="<f8"), header(shape=[3]), header(shape=[-2])]
    bad += [header(shape=[1] * 9 + [2]), header(data="text"), header(type="array.v9"), header(shape=[2**40, 2**40])]
    for blob in bad:
        with pytest.raises(CorruptArray):
            unpack(blob)


def test_names_differ_by_tenant_encoder_and_content() -> None:
    names = {
        media_name(*fields)
        for fields in [
            ("a", "b", "c"),
            ("x", "b", "c"),
            ("a", "x", "c"),
            ("a", "b", "x"),
            ("ab", "", "c"),
            ("", "ab", "c"),
        ]
    }
    assert len(names) == 6


async def put(valkey: Valkey, arrays: dict[str, np.ndarray], life: float) -> None:
    store = connect_async(valkey.settings)
    pipe = store.pipeline(transaction=False)
    MediaCache(Keys(), valkey.settings).put(pipe, arrays, life)
    await pipe.execute()
    await store.aclose()


async def missing(valkey: Valkey, names: list[str], life: float = 0.0) -> set[str]:
    store = connect_async(valkey.settings)
    pipe, cache = store.pipeline(transaction=False), MediaCache(Keys(), valkey.settings)
    cache.look_up(pipe, names, life)
    answers = await pipe.execute()
    await store.aclose()
    return cache.missing(names, answers)


async def test_only_media_without_embedding_and_array_are_missing(valkey: Valkey) -> None:
    await put(valkey, {"has-array": np.ones((1, 2), np.float32)}, life=30)
    store = connect(valkey.settings)
    cache = EmbeddingCache(store, Keys(), valkey.settings)
    cache.add({"has-embedding": np.ones(4, np.float32)})
    store.close()
    assert await missing(valkey, ["has-array", "has-embedding", "neither", "neither"]) == {"neither"}
    assert await missing(valkey, []) == set()


async def test_an_array_lives_as_long_as_its_request_may_wait(valkey: Valkey) -> None:
    await put(valkey, {"long": np.ones(1, np.float32)}, life=5000)
    assert 4990 < valkey.client.ttl(Keys().array("long")) <= 5000


async def test_once_encoded_the_embedding_is_there_and_the_array_gone(valkey: Valkey) -> None:
    await put(valkey, {"m": np.ones((1, 2), np.float32)}, life=30)
    store = connect(valkey.settings)
    cache = EmbeddingCache(store, Keys(), valkey.settings)
    assert set(cache.arrays(["m", "other"])) == {"m"}
    rows = np.arange(6, dtype=np.float16).reshape(3, 2)
    cache.add({"m": rows})
    found = cache.embeddings(["m"])["m"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, rows)
    assert cache.arrays(["m"]) == {}
    valkey.client.set(Keys().embedding("m"), b"\x80\x04 spoiled")
    assert cache.embeddings(["m"]) == {}
    store.close()


def test_large_embeddings_have_a_budget_and_the_longest_unused_go(valkey: Valkey) -> None:
    settings = valkey.settings.model_copy(update={"embedding_cache_bytes": 3 * LARGE})
    store, keys = connect(settings), Keys(settings.namespace)
    cache = EmbeddingCache(store, keys, settings)
    rows = np.zeros((LARGE // 64, 32), np.float16)  # LARGE bytes each
    small = np.zeros((1, 8), np.float32)
    for name in "abc":
        cache.add({name: rows})
    cache.add({"small": small})
    assert set(cache.embeddings(["a"])) == {"a"}  # used: now b is the oldest
    cache.add({"d": rows})
    lives = {name: valkey.client.ttl(keys.embedding(name)) for name in ("a", "b", "c", "d", "small")}
    assert [name for name, life in lives.items() if life <= DROPPED_LIFE] == ["b"]


async def test_media_live_as_long_as_a_request_that_found_them(valkey: Valkey) -> None:
    life, keys = 2 * max(valkey.settings.array_ttl_s, valkey.settings.embedding_ttl_s), Keys()
    await put(valkey, {"array": np.ones((1, 2), np.float32)}, life)
    store = connect(valkey.settings)
    EmbeddingCache(store, keys, valkey.settings).add({"embedding": np.ones(4, np.float32)})
    store.close()
    assert await missing(valkey, ["array", "embedding"], life) == set()
    lives = [valkey.client.ttl(key) for key in (keys.array("array"), keys.embedding("embedding"))]
    assert min(lives) > life - 60


def test_a_dropped_embedding_lives_on_for_a_request_that_was_promised_it(valkey: Valkey) -> None:
    settings = valkey.settings.model_copy(update={"embedding_cache_bytes": LARGE})
    store, keys = connect(settings), Keys(settings.namespace)
    cache, rows = EmbeddingCache(store, keys, settings), np.zeros((LARGE // 64, 32), np.float16)
    cache.add({"a": rows})
    cache.add({"b": rows})
    assert valkey.client.ttl(keys.embedding("a")) <= DROPPED_LIFE
    pipe = store.pipeline(transaction=False)
    MediaCache(keys, settings).look_up(pipe, ["a"])
    pipe.execute()
    assert valkey.client.ttl(keys.embedding("a")) > DROPPED_LIFE
    assert set(cache.embeddings(["a"])) == {"a"}
    cache.add({"c": rows})
    assert valkey.client.ttl(keys.embedding("a")) <= DROPPED_LIFE
