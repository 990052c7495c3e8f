"""What an input states itself, as a metric record that the analysis shows beside its own numbers (models/told.py)."""

from collections.abc import Mapping

from pinchpoint import records
from shippers.formats.base import Batch


def told(run: str, at_ns: int, numbers: Mapping[str, float], rank: int = 0) -> Batch:
    """One record of numbers under their names in the verdict's `shares`; `init_s` is seconds.

    Args:
        run: the run they are of.
        at_ns: UTC ns at which a step of it begins.
        numbers: by name; shares from 0 to 1 but for ratios and `init_s`.
        rank: whose statement it is.
    """
    metrics = [(f"told.{name}", float(value)) for name, value in numbers.items()]
    return "metric", records.batch("metric", {
        "@timestamp": [at_ns], "event.id": [records.content_id("told", run, rank, at_ns)], "run.id": [run], "entity.kind": ["told"],
        "entity.id": [str(rank)], "rank": [rank], "metrics": [metrics]})
