"""What is said of every metric."""

import dataclasses
from typing import Literal

MetricKind = Literal["gauge", "counter"]


@dataclasses.dataclass(frozen=True, slots=True)
class Metric:
    """One reading of an entity; a counter stays cumulative and is differenced in the analysis."""

    name: str
    entity: str
    kind: MetricKind
    unit: str
    meaning: str
    check: str
    """A command that prints the same number."""
