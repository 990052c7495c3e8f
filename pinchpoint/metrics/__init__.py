"""The one table of every metric, by what it is read of."""

from pinchpoint.metrics.gpu import GPU
from pinchpoint.metrics.host import HOST
from pinchpoint.metrics.metric import Metric
from pinchpoint.metrics.process import PROCESS
from pinchpoint.metrics.serving import SERVING
from pinchpoint.metrics.trace import TRACE

__all__ = ["METRICS", "RATE", "Metric"]

_ALL = (*HOST, *GPU, *SERVING, *PROCESS, *TRACE)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

#: Behind the name of a counter: a gauge of what the counter rises by in a second, as others work it out before they ship it.
#: `system.cpu.busy_s.rate` is the number of processors in use.
RATE = ".rate"
