"""`pandagpt serve`: store, gateway and worker, from the first check to the last process's end."""

import http.client
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.local import address, greeting, lock, ports, store
from service.local.children import Child, ChildFailed, Policy, Spec, stop
from service.settings import Settings, SettingsError, environment

Say = Callable[[str], None]
Given = Mapping[str, Mapping[str, object]]
HALVES: Mapping[str, Sequence[str]] = {
    name: (sys.executable, "-m", "service.cli", name) for name in ("gateway", "worker")
}
TICK_S = 0.1
ASK_S = 0.4  # between two looks at whether the service is ready
STORE_START_S = 60.0  # a large append-only file takes a while to load


@dataclass(frozen=True, slots=True)
class ServePlan:
    """A service that has passed the checks before its start."""

    host: str
    port: int
    model: Path
    state: Path
    own_store: bool
    cache: Path

    @property
    def url(self) -> str:
        """The gateway's address for a caller on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def check(settings: Settings) -> ServePlan:
    """Checks the settings before a process is started. Raises SettingsError."""
    model = settings.worker.model
    if not (model / "config.json").is_file():
        raise SettingsError(
            f"worker.model: {model} is no model folder (it holds no config.json); name one with --model, or make one "
            "with `pandagpt convert`"
        )
    speech = settings.worker.speech
    if speech is not None and not (speech / "speech.json").is_file():
        raise SettingsError(
            f"worker.speech: {speech} is no recogniser's folder (it holds no speech.json); `pandagpt fetch "
            "whisper-base` makes one"
        )
    port = ports.choose(settings.gateway.host, settings.gateway.port)
    state = settings.local.state
    cache = settings.worker.cache or state / "cache"
    return ServePlan(settings.gateway.host, port, model, state, not settings.store.is_external, cache)


def serve(settings: Settings, given: Given, say: Say, halves: Mapping[str, Sequence[str]] = HALVES) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP. `given` are the command line's settings, handed on to the children.

    `halves` are the commands of gateway and worker.
    """
    lock.check_free(settings.local.state)  # first: the service that runs already is no other program on its port
    plan = check(settings)
    with lock.held(plan.state):
        return Supervisor(settings, _environment(settings, given, plan), plan, say, halves).run()


class Supervisor:
    """Starts the children in order, tends them, ends them in the opposite order."""

    def __init__(
        self, settings: Settings, env: dict[str, str], plan: ServePlan, say: Say, halves: Mapping[str, Sequence[str]]
    ) -> None:
        local = settings.local
        self._settings, self._env, self._plan, self._say, self._commands = settings, env, plan, say, halves
        self._policy = Policy(local.restart_s, local.restart_max_s, local.stop_grace_s)
        self._store: Child | None = None
        self._halves: tuple[Child, ...] = ()
        self._signals = 0

    def run(self) -> int:
        """The exit status: 0 after a signal, else that of what could not start."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        started = time.monotonic()
        self._say(greeting.opening(self._plan))
        try:
            address.announce(self._plan.state, self._plan.url)
            self._start()
            self._tend_until(_every(ASK_S, lambda: is_ready(self._plan.url)))
            if not self._signals:
                self._say(greeting.ready(self._plan, time.monotonic() - started, self._settings.gateway.keys_file))
                self._tend_until(lambda: False)
            return 0
        except ChildFailed as failure:
            self._say(str(failure))
            return failure.status
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        if self._plan.own_store:
            embedded = store.prepare(self._plan.state, self._settings.local.store_memory_bytes)
            self._env["PANDAGPT_STORE_URL"] = embedded.url
            self._store = Child(Spec("store", embedded.command, {}, signal.SIGTERM), self._policy, self._say)
            self._store.start()
            self._await_store(embedded)
        self._halves = tuple(
            Child(Spec(name, command, self._env), self._policy, self._say) for name, command in self._commands.items()
        )
        if not self._signals:
            for child in self._halves:
                child.start()

    def _await_store(self, embedded: store.EmbeddedStore) -> None:
        limit = time.monotonic() + STORE_START_S
        while not embedded.answers() and not self._signals:
            if self._store is None or self._store.ended() or time.monotonic() > limit:
                raise SettingsError(f"the embedded store does not start; its log: {embedded.log}")
            time.sleep(0.02)

    def _tend_until(self, done: Callable[[], bool]) -> None:
        while not self._signals and not done():
            for child in self._children():
                child.tend()
            time.sleep(TICK_S)

    def _children(self) -> Sequence[Child]:
        return [*([self._store] if self._store else []), *self._halves]

    def _stop(self) -> None:
        if self._signals:
            self._say("stopping: what runs may end (Ctrl-C again to cut it off)")
        # The store last: the others write their ends into it.
        for children in (self._halves, [self._store] if self._store else []):
            stop(children, self._policy.stop_grace_s, self._say, self._in_a_hurry)
        self._say("stopped")

    def _in_a_hurry(self) -> bool:
        return self._signals > 1

    def _on_signal(self, *_: object) -> None:
        self._signals += 1


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _environment(settings: Settings, given: Given, plan: ServePlan) -> dict[str, str]:
    """The children's variables: the command line's settings, the chosen port, and grace times within ours."""
    grace = max(settings.local.stop_grace_s - 1.0, 0.0)
    ours: dict[str, dict[str, object]] = {
        # Nothing balances between gateways here: a delay would only be felt.
        "gateway": {
            "port": plan.port,
            "shutdown_delay_s": 0.0,
            "drain_grace_s": min(settings.gateway.drain_grace_s, grace),
        },
        "worker": {"drain_grace_s": min(settings.worker.drain_grace_s, grace), "cache": plan.cache},
    }
    return environment(given) | environment(ours)


def _every(seconds: float, check: Callable[[], bool]) -> Callable[[], bool]:
    """`check`, but at most once in `seconds`; False in between."""
    due = 0.0

    def checked() -> bool:
        nonlocal due
        if time.monotonic() < due:
            return False
        due = time.monotonic() + seconds
        return check()

    return checked


def is_ready(url: str) -> bool:
    """Whether the gateway has a store and a worker behind it."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2.0)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
