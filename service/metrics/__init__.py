"""Every metric of the service, on a registry that is passed in; nothing global.

Names follow Prometheus: base units, `_total` on counters. A metric that vLLM has too has vLLM's name behind the prefix
`pandagpt_`, its meaning and its buckets (deploy/prometheus/vllm_names.yml gives it vLLM's own name). No label has an
unbounded set of values, and a counter whose labels' values are known exists at 0 from the start.
"""

from service.metrics.gateway import GatewayMetrics
from service.metrics.worker import WorkerMetrics

__all__ = ["GatewayMetrics", "WorkerMetrics"]
