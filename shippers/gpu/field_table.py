"""Which field values of NVML become which metrics.

Ids are those of nvml.h, `NVML_FI_DEV_…`.
"""

from typing import NamedTuple

_ALL_LINKS = 0xFFFFFFFF
_MOST_LINKS = 18

#: A field: its id, and its scope, which is a link where the field is of links.
Field = tuple[int, int]


class FieldReading(NamedTuple):
    """A metric and the ways to read it, best first: in each the fields are added up."""

    metric: str
    ways: tuple[tuple[Field, ...], ...]
    factor: float = 1.0
    is_rate: bool = False
    """The fields are counters, and the metric is what they grow by in a second."""


def _one(metric: str, field: int, factor: float = 1.0) -> FieldReading:
    return FieldReading(metric, (((field, 0),),), factor)


def _links(field: int) -> tuple[Field, ...]:
    return tuple((field, link) for link in range(_MOST_LINKS))


_NS = 1e-9

FAST: tuple[FieldReading, ...] = (
    _one("gpu.power_w", 185, 1e-3),
    FieldReading("gpu.energy_j", (((83, 0),), ((191, 0),)), 1e-3),
    _one("gpu.throttled.power_s", 74, _NS),
    _one("gpu.throttled.thermal_s", 75, _NS),
    _one("gpu.throttled.sync_boost_s", 76, _NS),
    _one("gpu.throttled.board_limit_s", 77, _NS),
    _one("gpu.throttled.low_utilization_s", 78, _NS),
    _one("gpu.throttled.reliability_s", 79, _NS),
    _one("gpu.throttled.software_thermal_s", 269, _NS),
    _one("gpu.throttled.hardware_thermal_s", 270, _NS),
    _one("gpu.throttled.power_brake_s", 271, _NS),
    _one("gpu.memory.temperature_celsius", 82),
    FieldReading("gpu.pcie.transmit_bytes_per_s", (((197, 0),),), is_rate=True),
    FieldReading("gpu.pcie.receive_bytes_per_s", (((198, 0),),), is_rate=True),
    # KiB of data up to Hopper; bytes from Blackwell on have fields of their own
    FieldReading("gpu.nvlink.transmit_bytes_per_s", (((138, _ALL_LINKS),),), 1024.0, is_rate=True),
    FieldReading("gpu.nvlink.receive_bytes_per_s", (((139, _ALL_LINKS),),), 1024.0, is_rate=True),
)

SLOW: tuple[FieldReading, ...] = (
    _one("gpu.ecc.corrected", 3),
    _one("gpu.ecc.uncorrected", 4),
    _one("gpu.remapped_rows.corrected", 142),
    _one("gpu.remapped_rows.uncorrected", 143),
    _one("gpu.remapped_rows.pending", 144),
    _one("gpu.remapped_rows.failed", 145),
    _one("gpu.recovery_action", 230),
    _one("gpu.pcie.replays", 94),
    _one("gpu.pcie.correctable_errors", 173),
    _one("gpu.power.default_limit_w", 189, 1e-3),
    _one("gpu.nvlink.links", 91),
    # flits and data are checked apart
    FieldReading("gpu.nvlink.crc_errors", (((38, 0), (45, 0)), _links(163))),
    FieldReading("gpu.nvlink.replays", (((52, 0),), _links(161))),
    FieldReading("gpu.nvlink.recoveries", (((59, 0),), _links(162), ((215, _ALL_LINKS),))),
)
