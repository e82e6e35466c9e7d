"""Metrics of any process of ours: `process_*`, Python's collector, the build, and a GPU's memory."""

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.registry import Collector

from service.version import version


def register_process(registry: CollectorRegistry, component: str) -> None:
    """`component`: gateway, worker."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    info = Gauge("pandagpt_build_info", "1, by version and part", ["version", "python", "component"], registry=registry)
    info.labels(version(), platform.python_version(), component).set(1)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of one device: by this process's allocator, by all, and all there is."""

    device: str
    allocated: int
    used: int
    total: int


class DeviceMemoryCollector(Collector):
    """Read at each scrape; without a device there is no sample."""

    def __init__(self, read: Callable[[], Sequence[DeviceMemory]]) -> None:
        self._read = read

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "pandagpt_gpu_memory_bytes",
            "Memory of a GPU: allocated (by this process's tensors), used (by all processes), total",
            labels=["device", "kind"],
        )
        for one in self._read():
            for kind, value in (("allocated", one.allocated), ("used", one.used), ("total", one.total)):
                memory.add_metric([one.device, kind], value)
        yield memory
