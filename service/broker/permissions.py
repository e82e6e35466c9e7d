"""The commands that each side sends, and whether the store's user may run all of them.

Each is run once on a key that holds a string. A store looks at the count of arguments first, then at the user's rights,
then at the key's type: so a command for other types answers WRONGTYPE, changes nothing, and was allowed.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis.exceptions import ResponseError

from service.broker.connection import AsyncStore, SyncStore, store_errors, translated
from service.broker.errors import StoreRefused
from service.broker.faults import FAULTS

# By the names of `deploy/valkey/users.acl`, which grants each side what stands here.
_FIRST = {"set": "{key} 1 ex 60"}
_LAST = {"expire": "{key} 60"}  # a command in between that found no key any more made one without a life
_BOTH = {
    "info": "server",
    "time": "",
    "eval": "return 0",
    "get": "{key}",
    "del": "{key}:none",
    "unlink": "{key}:none",
    "incrby": "{key} 1",
    "decrby": "{key} 1",
    "hget": "{key} a",
    "hset": "{key} a 1",
    "hdel": "{key} a",
    "hexists": "{key} a",
    "zadd": "{key} 1 a",
    "zrem": "{key} a",
    "zrange": "{key} 0 0",
    "zrangebyscore": "{key} 0 0",
    "zcount": "{key} 0 0",
    "zscore": "{key} a",
    "xadd": "{key} * a 1",
    "xrange": "{key} - +",
    "xrevrange": "{key} + -",
    "xlen": "{key}",
    "xpending": "{key} workers",
    "xinfo|groups": "{key}",
    "xinfo|stream": "{key}",
    "xack": "{key} workers 0-1",
    "xdel": "{key} 0-1",
}
GATEWAY: Mapping[str, str] = {
    **_FIRST,
    **_BOTH,
    "pexpire": "{key} 60000",
    "hgetall": "{key}",
    "hsetnx": "{key} a 1",
    "hvals": "{key}",
    "hstrlen": "{key} a",
    "hlen": "{key}",
    "hincrby": "{key} a 1",
    "rpush": "{key} a",
    "lindex": "{key} 0",
    "zremrangebyscore": "{key} 0 0",
    "zcard": "{key}",
    "zrank": "{key} a",
    "xread": "streams {key} 0",
    **_LAST,
}
WORKER: Mapping[str, str] = {
    **_FIRST,
    **_BOTH,
    "getex": "{key} ex 60",
    "xreadgroup": "group workers probe streams {key} >",
    "xinfo|consumers": "{key} workers",
    "xclaim": "{key} workers probe 0 0-1",
    "xautoclaim": "{key} workers probe 0 0-0",
    "xgroup|create": "{key} workers $",
    "xgroup|delconsumer": "{key} workers probe",
    **_LAST,
}
_REFUSED = re.compile(r"to run the '([a-z|]+)' command")


def probes(commands: Mapping[str, str], key: str) -> Iterator[tuple[str, list[str]]]:
    """Each command as it is sent, and its arguments, in the order in which they leave nothing without an expiry."""
    for name, arguments in commands.items():
        yield _sent(name), [part.format(key=key) for part in arguments.split()]


def _sent(name: str) -> str:
    return name.upper().replace("|", " ")


@contextmanager
def permitted(command: str) -> Iterator[None]:
    """Raises StoreRefused that names the command which the store does not run, StoreUnavailable where it fails.

    A first command brings the driver's own about the connection with it: the refused one stands in the error's text.
    """
    try:
        yield
    except ResponseError as error:
        text = str(error)
        if text.startswith("WRONGTYPE"):
            return
        ours, refused = translated(error), _REFUSED.search(text)
        if ours is not None and not isinstance(ours, StoreRefused):
            raise ours from error
        name = _sent(refused[1]) if refused else command
        raise StoreRefused(f"the store's user may not run {name}", advice=FAULTS["NOPERM"].advice) from error


def check_permitted(store: SyncStore, commands: Mapping[str, str], key: str) -> None:
    """Raises StoreRefused where the store's user lacks one of the commands, StoreUnavailable."""
    execute: Any = store.execute_command  # bears no types
    for command, arguments in probes(commands, key):
        with store_errors(), permitted(command):
            execute(command, *arguments)


async def check_permitted_async(store: AsyncStore, commands: Mapping[str, str], key: str) -> None:
    """The same for asyncio."""
    for command, arguments in probes(commands, key):
        with store_errors(), permitted(command):
            await store.execute_command(command, *arguments)
