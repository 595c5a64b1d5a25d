"""The registry of metrics: each is one entry of a family, and everything that names metrics derives from it.

summary.json, the dashboard's tables, [slo] and its gates, comparisons, live figures, Prometheus, the tab in the web UI
and the tables of docs/metrics.md. To add a metric, add an entry to a family; docs/metrics.md says more.
"""

from __future__ import annotations

from tokenswarm.contract.metric import Registry
from tokenswarm.contract.metric_families.cost_metrics import COSTS
from tokenswarm.contract.metric_families.engine_metrics import OF_ENGINES
from tokenswarm.contract.metric_families.latency_metrics import LATENCIES
from tokenswarm.contract.metric_families.traffic_metrics import TRAFFIC
from tokenswarm.contract.metric_families.workload_metrics import OF_WORKLOADS

METRICS = Registry(*LATENCIES, *TRAFFIC, *COSTS, *OF_ENGINES, *OF_WORKLOADS)
"""Every metric, in the order in which it is shown."""
