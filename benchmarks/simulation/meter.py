"""The store's own counts between two readings."""

from typing import Any

import redis

from benchmarks.simulation.costs import Cost


class StoreMeter:
    """`since` gives what came since the last look, less what the looks themselves cost."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._own, self._last = Cost(), Cost()
        self.since()
        looks = [self.since() for _ in range(20)]
        self._own = Cost(*(sum(getattr(look, name) for look in looks) / 20 for name in Cost.__slots__))
        self.since()

    def since(self) -> Cost:
        stats: Any = self._client.info("stats")
        cpu: Any = self._client.info("cpu")
        now = Cost(
            float(stats["total_commands_processed"]),
            float(stats["total_net_input_bytes"]),
            float(stats["total_net_output_bytes"]),
            float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]),
        )
        came, self._last = now - self._last - self._own, now
        return came
