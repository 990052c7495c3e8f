"""Facts of the links of a GPU: PCIe to its host, NVLink to its neighbours."""

import numpy as np

from models.errors import xid_of
from models.facts.gpu import beyond, held, loaded, median, of_suspect
from models.facts.gpu_errors import NEEDS, are_told, reports_of
from models.facts.registry import Scope, fact
from models.view import Booleans, Entity

PCIE = "PCIe links of the GPUs (gpu.pcie.generation, gpu.pcie.width and their highest)"
NVLINK = "NVLinks of the GPUs (gpu.nvlink.*)"
#: GB/s that one lane of PCIe carries, by generation (encoding counted, protocol not): PCI-SIG.
LANE_GB_PER_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
NVLINK_XID = "74"


def _lane_rate(generation: float) -> float:
    return LANE_GB_PER_S[int(np.clip(round(generation), 1, 6))]


def pcie_loss(gpu: Entity, inside: Booleans) -> float | None:
    """Share of the bandwidth of its PCIe link that the GPU lacks while it works; at idle a lower generation is normal."""
    working = inside & loaded(gpu)
    left = None
    for now_name, most_name, is_lanes in (("gpu.pcie.generation", "gpu.pcie.generation_max", False),
                                          ("gpu.pcie.width", "gpu.pcie.width_max", True)):
        most, values = gpu.mean(most_name, inside), gpu.series.get(now_name)
        if values is None or most is None:
            continue
        shares = np.array([now / most if is_lanes else _lane_rate(now) / _lane_rate(most) for now in values[working & ~np.isnan(values)]])
        if len(shares):
            left = (1.0 if left is None else left) * float(shares.mean())
    return None if left is None else max(1 - left, 0.0)


@fact("gpu.pcie.loss_ratio", "ratio", PCIE)
def lost_bandwidth(scope: Scope) -> float | None:
    """Share of the bandwidth of its PCIe link that the GPU lacks while it works, beyond before and beyond the others."""
    return beyond(scope, pcie_loss)


@fact("gpu.pcie.receive_ratio", "ratio", f"{PCIE}, and its traffic (gpu.pcie.receive_bytes_per_s)")
def received(scope: Scope) -> float | None:
    """Traffic to the GPU over what its PCIe link can carry, in the time of the copies."""

    def measure(gpu: Entity, inside: Booleans) -> float | None:
        rate, lanes, generation = (gpu.mean(f"gpu.pcie.{name}", inside) for name in ("receive_bytes_per_s", "width", "generation"))
        copying = scope.seconds("h2d") / scope.wall_s if scope.wall_s else 0.0
        if rate is None or not lanes or not generation or copying < 0.02:
            return None
        return min(rate / copying / (1e9 * lanes * _lane_rate(generation)), 1.0)

    return of_suspect(scope, measure)


@fact("gpu.pcie.replays_per_s", "1/s", PCIE)
def replays(scope: Scope) -> float | None:
    """Transfers over PCIe that were repeated in a second, beyond before and beyond the others."""
    return beyond(scope, lambda gpu, inside: gpu.mean("gpu.pcie.replays", inside))


def down(gpu: Entity, inside: Booleans) -> float | None:
    """NVLinks of a GPU that are not up: the level most of the readings have."""
    links, active = gpu.series.get("gpu.nvlink.links"), gpu.series.get("gpu.nvlink.links_active")
    if links is None or active is None:
        return None
    missing = (held(links) - active)[inside]
    missing = missing[~np.isnan(missing)]
    return float(np.median(missing)) if len(missing) else None


def nvlink_errors(gpu: Entity, inside: Booleans) -> float | None:
    """Errors, repeats and new trainings of a GPU's NVLinks in a second."""
    rates = [rate for name in ("crc_errors", "replays", "recoveries") if (rate := gpu.mean(f"gpu.nvlink.{name}", inside)) is not None]
    return sum(rates) if rates else None


def worst_nvlink(scope: Scope) -> Entity | None:
    """The GPU whose NVLinks are worst: most links down, then most errors; None when no GPU has links that were read."""
    known = [one.gpu for one in scope.view.placed if "gpu.nvlink.links" in one.gpu.series or "gpu.nvlink.crc_errors" in one.gpu.series]
    return max(known, key=lambda gpu: (down(gpu, scope.inside) or 0.0, nvlink_errors(gpu, scope.inside) or 0.0), default=None)


@fact("nvlink.links_down", "links", NVLINK)
def links_down(scope: Scope) -> float | None:
    """NVLinks that are down on the GPU with the worst links, beyond before."""
    gpu = worst_nvlink(scope)
    value = None if gpu is None else down(gpu, scope.inside)
    if gpu is None or value is None:
        return None
    return max(value - (down(gpu, scope.before) or 0.0 if scope.before is not None else 0.0), 0.0)


@fact("nvlink.errors_per_s", "1/s", NVLINK)
def errors(scope: Scope) -> float | None:
    """Errors of the NVLinks of the GPU with the worst links in a second, beyond before and beyond the median of the others."""
    gpu = worst_nvlink(scope)
    value = None if gpu is None else nvlink_errors(gpu, scope.inside)
    if gpu is None or value is None:
        return None
    rest = median(nvlink_errors(one.gpu, scope.inside) for one in scope.view.placed if one.gpu is not gpu) or 0.0
    before = 0.0 if scope.before is None else nvlink_errors(gpu, scope.before) or 0.0
    return max(value - max(rest, before), 0.0)


@fact("nvlink.traffic_ratio", "ratio", NVLINK)
def traffic(scope: Scope) -> float | None:
    """NVLink traffic of the GPU with the worst links over the median of the others."""
    gpu = worst_nvlink(scope)
    if gpu is None:
        return None
    rest = median(one.gpu.mean("gpu.nvlink.transmit_bytes_per_s", scope.inside) for one in scope.view.placed if one.gpu is not gpu)
    mine = gpu.mean("gpu.nvlink.transmit_bytes_per_s", scope.inside)
    return None if mine is None or not rest else mine / rest


@fact("nvlink.error_events", "events", NEEDS)
def nvlink_events(scope: Scope) -> float | None:
    """Reports of NVLink errors (XID 74) on GPUs of the run since shortly before the slow stretch."""
    if not are_told(scope):
        return None
    return float(sum(len(reports_of(scope, one.gpu, lambda finding: xid_of(finding) == NVLINK_XID)) for one in scope.view.placed))
