"""Exporters of GPUs give readings under the same names as the driver itself."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from fake_gpus import HEALTHY, Node

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.metrics import METRICS
from shippers.http_connection import Response, Route
from shippers.http_server import HttpServer
from shippers.sources.reading import Reading
from shippers.sources.scrape import ScrapeSource
from shippers.sources.scrape_gpu_names import AMD, DCGM, INTEL

#: dcgm-exporter tells the last error that there was; the driver tells errors when they happen, which become events.
ONLY_DCGM = {"gpu.last_xid"}
#: DCGM has no field for these, or only in its newest versions.
ONLY_NVML = {
    "gpu.lost", "gpu.unresponsive", "gpu.processes", "gpu.temperature.margin_celsius", "gpu.nvlink.links", "gpu.nvlink.links_active",
    "gpu.pcie.correctable_errors", "gpu.throttled.software_thermal_s", "gpu.throttled.hardware_thermal_s", "gpu.throttled.power_brake_s"}

AMD_PAGE = """\
gpu_gfx_activity{gpu_id="0",gpu_uuid="ccff74a1-0000-1000-80e0-c6d49f5b0d86",hostname="tw038",serial_number="6924"} 80
amd_gpu_package_power{gpu_id="1",gpu_uuid="b",hostname="tw038",serial_number="6925"} 650
gpu_used_vram{gpu_id="0",gpu_uuid="ccff74a1-0000-1000-80e0-c6d49f5b0d86",hostname="tw038",serial_number="6924"} 1024
gpu_energy_consumed{gpu_id="0",gpu_uuid="ccff74a1-0000-1000-80e0-c6d49f5b0d86",hostname="tw038",serial_number="6924"} 5e6
gpu_clock{clock_index="2",clock_type="system",gpu_id="0",hostname="tw038",serial_number="x"} 132
gpu_clock{clock_index="8",clock_type="memory",gpu_id="0",hostname="tw038",serial_number="x"} 900
"""
INTEL_PAGE = """\
xpum_engine_ratio{uuid="u-1",dev_name="Max 1550",sub_dev="0"} 0.5
xpum_temperature_celsius{uuid="u-1",dev_name="Max 1550",location="gpu",sub_dev="0"} 61
xpum_temperature_celsius{uuid="u-1",dev_name="Max 1550",location="mem",sub_dev="0"} 55
xpum_frequency_mhz{uuid="u-1",location="gpu",type="actual"} 1600
xpum_frequency_mhz{uuid="u-1",location="gpu",type="request"} 1700
"""


@contextlib.contextmanager
def exporter(page: str) -> Iterator[ScrapeSource]:
    answer = Response(200, page.encode(), "text/plain")
    server = HttpServer("127.0.0.1:0", {("GET", "/metrics"): Route(lambda _: answer)}, clock=SYSTEM_CLOCK)
    source = ScrapeSource(f"http://127.0.0.1:{server.port}/metrics", "h")
    try:
        yield source
    finally:
        source.close()
        server.close()


def scraped(page: str) -> list[Reading]:
    """What one page gives, without the reading of the exporter itself."""
    with exporter(page) as source:
        return source.read()[1:]


def merged(readings: list[Reading], identity: str) -> dict[str, float]:
    return {name: value for reading in readings if reading.entity_id == identity for name, value in reading.metrics.items()}


def test_dcgm_and_nvml_give_the_same_names(node: Callable[[str], Node]) -> None:
    """What both can tell has one name, so that nothing after them has to know where it came from."""
    gpus = node(HEALTHY.replace("name          =", "fan = 40\nname          =")).start()
    gpus.at(1)
    gpus.read_again(0)
    gpus.at(3)
    gpus.until(lambda: gpus.last("gpu.sm.active_ratio", 0))
    nvml = {name for reading in gpus.readings if reading.entity_kind == "gpu" for name in reading.metrics}

    assert nvml - ONLY_NVML == {name.metric for names in DCGM.values() for name in names} - ONLY_DCGM


def test_a_mask_of_dcgm_becomes_flags() -> None:
    """Reasons for low clocks come as bits, and errors of NVLink are added up."""
    labels = '{gpu="0",UUID="GPU-a",Hostname="n"}'
    readings = scraped(f"DCGM_FI_DEV_CLOCKS_EVENT_REASONS{labels} 36\nDCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL{labels} 2\n"
                       f"DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL{labels} 3\nDCGM_FI_DEV_PCIE_LINK_WIDTH{labels} 8\n")
    metrics = merged(readings, "GPU-a")

    assert {name for name, value in metrics.items() if name.startswith("gpu.clocks_event.") and value} == {
        "gpu.clocks_event.software_power_cap", "gpu.clocks_event.software_thermal"}
    assert metrics["gpu.clocks_event.idle"] == 0.0
    assert (metrics["gpu.nvlink.crc_errors"], metrics["gpu.pcie.width"]) == (5.0, 8.0)


def test_the_exporter_of_amd() -> None:
    """By UUID where there is one, else by the number of the GPU on its host; with and without the prefix of Kubernetes."""
    readings = scraped(AMD_PAGE)

    assert merged(readings, "ccff74a1-0000-1000-80e0-c6d49f5b0d86") == {
        "gpu.busy_ratio": 0.8, "gpu.memory.used_bytes": 2.0**30, "gpu.energy_j": pytest.approx(5.0)}
    assert merged(readings, "b") == {"gpu.power_w": 650.0}
    assert merged(readings, "h/0") == {"gpu.clock.sm_hz": 132e6, "gpu.clock.memory_hz": 900e6}
    assert {(reading.labels or {})["host.name"] for reading in readings} == {"tw038"}


def test_the_exporter_of_intel() -> None:
    """Its ratios are shares of 1, and what it asked for is not what it got."""
    readings = scraped(INTEL_PAGE)

    assert merged(readings, "u-1") == {"gpu.busy_ratio": 0.5, "gpu.temperature_celsius": 61.0, "gpu.memory.temperature_celsius": 55.0,
                                       "gpu.clock.sm_hz": 1600e6}


def test_every_name_is_in_the_table() -> None:
    """No exporter brings a metric that nobody knows."""
    assert {name.metric for table in (DCGM, AMD, INTEL) for names in table.values() for name in names} - set(METRICS) == set()
