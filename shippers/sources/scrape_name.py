"""What an exposed metric of an exporter becomes."""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """What one exposed metric becomes."""

    metric: str
    entity: str
    factor: float = 1.0
    adds_up: tuple[str, ...] | None = None
    """Labels that are left out; what becomes the same reading is added up. None: nothing is added up."""
    only: tuple[str, tuple[str, ...]] | None = None
    """A label and the values of it that count; others are left to other names of the same exposed metric."""
    bit: int = 0
    """The exposed metric is a mask of bits: 1 where this one is set, else 0."""

    def value(self, exposed: float) -> float:
        """In our unit.

        >>> Name("gpu.clocks_event.idle", "gpu", bit=1).value(5.0), Name("gpu.busy_ratio", "gpu", 0.01).value(50.0)
        (1.0, 0.5)
        """
        return float(int(exposed) & self.bit != 0) if self.bit else exposed * self.factor


def table(entity: str, rows: Iterable[tuple[str, str, float]], prefix: str = "") -> dict[str, tuple[Name, ...]]:
    """Exposed names, each with a metric and the factor to our unit."""
    return {f"{prefix}{exposed}": (Name(metric, entity, factor),) for exposed, metric, factor in rows}
