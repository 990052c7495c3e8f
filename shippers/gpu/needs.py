"""Which causes of slowness take which readings of a GPU to be told from their neighbours."""

from collections.abc import Collection, Mapping
from typing import NamedTuple


class Need(NamedTuple):
    """A cause, and the readings that tell it: one of each group has to be there."""

    cause: str
    name: str
    groups: tuple[tuple[str, ...], ...]
    else_taken_for: str
    """What it looks like without them."""


_SM_CLOCK = ("gpu.clock.sm_hz",)

NEEDS: tuple[Need, ...] = (
    Need("I06", "thermal throttling", (_SM_CLOCK, ("gpu.throttled.software_thermal_s", "gpu.throttled.hardware_thermal_s",
         "gpu.throttled.thermal_s", "gpu.clocks_event.software_thermal")), "a power cap (I07) or a slow GPU (I12)"),
    Need("I07", "power cap", (_SM_CLOCK, ("gpu.throttled.power_s", "gpu.clocks_event.software_power_cap")),
         "thermal throttling (I06) or a slow GPU (I12)"),
    Need("I08", "PCIe at a lower generation or width", (("gpu.pcie.generation",), ("gpu.pcie.generation_max",), ("gpu.pcie.width",),
         ("gpu.pcie.width_max",)), "copies that are too large (D17)"),
    Need("I09", "a degraded NVLink", (("gpu.nvlink.links_active", "gpu.nvlink.replays", "gpu.nvlink.crc_errors"),),
         "a congested network (I10)"),
    Need("I12", "a slow GPU", (_SM_CLOCK, ("gpu.tensor.active_ratio", "gpu.sm.active_ratio")), "uneven samples (D13)"),
    Need("I13", "memory errors", (("gpu.ecc.uncorrected",), ("gpu.remapped_rows.pending", "gpu.remapped_rows.failed")),
         "a slow GPU (I12)"),
    Need("I14", "a GPU shared with others", (("gpu.processes",),), "a slow GPU (I12)"),
    Need("I15", "clocks set low", (_SM_CLOCK, ("gpu.clock.sm_max_hz",), ("gpu.clocks_event.application_clocks",
         "gpu.clock.sm_application_hz")), "thermal throttling (I06) or a power cap (I07)"),
    Need("I28", "a GPU that grows slower without errors", (_SM_CLOCK, ("gpu.power_w", "gpu.energy_j")), "a slower operator (M06)"),
    Need("M10", "memory that is nearly full", (("gpu.memory.used_bytes",), ("gpu.memory.total_bytes",)), "allocator thrash (M09)"),
    Need("D17", "copies to the GPU that take long", (("gpu.pcie.receive_bytes_per_s",),), "a slow PCIe link (I08)"),
)


#: Causes of GPUs that take no reading which a GPU may lack: labels, or what the agent itself finds out.
TAKE_NO_READING = frozenset(("I22", "I24"))


def cannot_tell(missing: Collection[str]) -> list[Need]:
    """The causes that cannot be told where these readings are missing."""
    return [need for need in NEEDS if any(set(group) <= set(missing) for group in need.groups)]


def lacks(need: Need, missing: Mapping[str, str]) -> str:
    """Which readings a cause lacks and why, in words.

    >>> lacks(NEEDS[6], {"gpu.processes": "needs root"})
    'gpu.processes (needs root)'
    """
    return ", ".join(f"{metric} ({missing[metric]})" for group in need.groups if set(group) <= set(missing) for metric in group)
