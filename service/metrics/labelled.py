"""The metrics of one registry on another, each with labels that are the same for the whole process."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample


class Labelled(Collector):
    """`outer.register(Labelled(inner, {"model": name}))`."""

    def __init__(self, inner: CollectorRegistry, labels: Mapping[str, str]) -> None:
        self._inner, self._labels = inner, dict(labels)

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that registering it collects nothing yet."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        for family in self._inner.collect():
            family.samples = [self._with_labels(sample) for sample in family.samples]
            yield family

    def _with_labels(self, sample: Sample) -> Sample:
        return sample._replace(labels={**self._labels, **sample.labels})
