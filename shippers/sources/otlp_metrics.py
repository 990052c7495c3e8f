"""Turn metrics of OpenTelemetry into records of kind metric: one for each set of attributes and time."""

import math
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from shippers.sources.documents import TimeText, place_fields
from shippers.sources.entities import entity_of
from shippers.sources.otlp_spans import Made
from shippers.sources.otlp_values import resource_fields, split, texts, with_labels

_NO_VALUE = 1  # flag of a point that says that its series has ended
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_WHY_DELTA = ("delta temporality: counters are kept cumulative, set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative")

Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint | SummaryDataPoint
#: Name, value, and the label that tells values of one point apart: a bucket or a quantile.
Value = tuple[str, float, dict[str, str]]


def metric_records(request: ExportMetricsServiceRequest, host: str, now_ns: int) -> tuple[list[Made], int, str]:
    """The records of a request, how many points were rejected, and why the last one was.

    Histograms become NAME_sum, NAME_count and cumulative NAME_bucket with the label `le`, as in Prometheus; exponential ones sum
    and count alone; summaries NAME with the label `quantile`.
    """
    made: list[Made] = []
    rejected, why = 0, ""
    utc = TimeText()
    for group in request.resource_metrics:
        base = resource_fields("metric", group.resource, host)
        service = next((pair.value.string_value for pair in group.resource.attributes if pair.key == "service.name"), "")
        records: dict[tuple[Any, ...], dict[str, Any]] = {}
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                points, delta = _points(metric)
                if delta:
                    rejected, why = rejected + len(points), f"{metric.name[:100]}: {_WHY_DELTA}"
                    continue
                for point in points:
                    if point.flags & _NO_VALUE:
                        continue
                    time_ns = point.time_unix_nano if 0 < point.time_unix_nano < 1 << 62 else now_ns
                    attributes = texts(point.attributes)
                    for name, value, more in _values(metric.name, point):
                        if math.isfinite(value):
                            record = _record(records, {**attributes, **more}, time_ns, base, service or "unknown", utc)
                            record["metrics"][name] = value
        made += [("metric", None, record) for record in records.values()]
    return made, rejected, why


def _record(records: dict[tuple[Any, ...], dict[str, Any]], attributes: dict[str, str], time_ns: int, base: dict[str, Any],
            service: str, utc: TimeText) -> dict[str, Any]:
    key = (time_ns, *sorted(attributes.items()))
    if key not in records:
        found, left = split(attributes)
        kind, identity, left = entity_of(left, service)
        record = {"@timestamp": utc(time_ns), **base, "entity.kind": kind, "entity.id": identity}
        placed = place_fields("metric", found)
        left.update(placed.pop("labels", {}))
        record.update(placed)
        with_labels(record, left)
        record["metrics"] = {}
        records[key] = record
    return records[key]


def _points(metric: Metric) -> tuple[Any, bool]:
    """The points of a metric, and whether they are differences; none for a kind that a later version adds."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return (), False
    data = getattr(metric, kind)
    # a sum that may fall is a gauge, which as a difference means nothing either
    return data.data_points, kind in ("sum", "histogram", "exponential_histogram") and data.aggregation_temporality == _DELTA


def _values(name: str, point: Point) -> Iterator[Value]:
    match point:
        case NumberDataPoint():
            kind = point.WhichOneof("value")
            if kind is not None:
                yield name, getattr(point, kind), {}
        case SummaryDataPoint():
            yield f"{name}_sum", point.sum, {}
            yield f"{name}_count", point.count, {}
            for each in point.quantile_values:
                yield name, each.value, {"quantile": _short(each.quantile)}
        case _:
            if point.HasField("sum"):
                yield f"{name}_sum", point.sum, {}
            yield f"{name}_count", point.count, {}
            if isinstance(point, HistogramDataPoint):
                yield from _buckets(name, point)


def _buckets(name: str, point: HistogramDataPoint) -> Iterator[Value]:
    below = 0
    for count, bound in zip(point.bucket_counts, [*point.explicit_bounds, math.inf], strict=False):
        below += count
        yield f"{name}_bucket", below, {"le": _short(bound)}


def _short(bound: float) -> str:
    """A bound as Prometheus writes it.

    >>> _short(0.5), _short(10.0), _short(math.inf)
    ('0.5', '10', '+Inf')
    """
    return "+Inf" if bound == math.inf else f"{bound:.15g}"
