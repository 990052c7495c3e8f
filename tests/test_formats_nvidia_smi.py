"""What nvidia-smi, ps and nvidia-bug-report.sh print, under the names that pinchpoint gives it."""

import contextlib
import gzip

import pytest

from pinchpoint.errors import InputError
from pinchpoint.metrics import METRICS
from shippers.formats import open_input
from shippers.formats.gpu_readings import BY_QUERY
from shippers.formats.nvidia_smi_paths import _METRICS

UUID = "GPU-0a1b2c3d-1111-2222-3333-444455556666"
TEXT = f"""
==============NVSMI LOG==============

Timestamp                                 : Thu Jan  1 00:00:00 2026
Driver Version                            : 580.65.06
Attached GPUs                             : 2
GPU 00000000:9B:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    GPU UUID                              : {UUID}
    PCI
        GPU Link Info
            PCIe Generation
                Max                       : 5
                Current                   : 1
            Link Width
                Max                       : 16x
                Current                   : 8x
    Performance State                     : P0
    Clocks Event Reasons
        Idle                              : Not Active
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Active
            HW Power Brake Slowdown       : Not Active
    FB Memory Usage
        Used                              : 1024 MiB
    Utilization
        GPU                               : 97 %
        Memory                            : 40 %
    ECC Errors
        Volatile
            DRAM Uncorrectable            : 0
        Aggregate
            DRAM Uncorrectable            : 7
    Remapped Rows
        Pending                           : Yes
        Remapping Failure Occurred        : No
    Temperature
        GPU Current Temp                  : 88 C
    GPU Power Readings
        Power Draw                        : 300.50 W
    Clocks
        SM                                : 1980 MHz
        Memory                            : 2619 MHz
    Max Clocks
        SM                                : 1990 MHz
GPU 00000000:9C:00.0
    Utilization
        GPU                               : N/A
        Memory                            : [Not Supported]
    Fan Speed                             : N/A
    Performance State                     : P8
"""
XML = f"""<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<timestamp>Thu Jan  1 00:00:00 2026</timestamp>
	<driver_version>580.65.06</driver_version>
	<gpu id="00000000:9B:00.0">
		<product_name>NVIDIA H100 80GB HBM3</product_name>
		<uuid>{UUID}</uuid>
		<pci><pci_gpu_link_info><pcie_gen><max_link_gen>5</max_link_gen><current_link_gen>1</current_link_gen></pcie_gen>
		<link_widths><max_link_width>16x</max_link_width><current_link_width>8x</current_link_width></link_widths></pci_gpu_link_info></pci>
		<performance_state>P0</performance_state>
		<clocks_event_reasons><clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
		<clocks_event_reason_hw_slowdown>Active</clocks_event_reason_hw_slowdown>
		<clocks_event_reason_hw_thermal_slowdown>Active</clocks_event_reason_hw_thermal_slowdown>
		<clocks_event_reason_hw_power_brake_slowdown>Not Active</clocks_event_reason_hw_power_brake_slowdown></clocks_event_reasons>
		<fb_memory_usage><used>1024 MiB</used></fb_memory_usage>
		<utilization><gpu_util>97 %</gpu_util><memory_util>40 %</memory_util></utilization>
		<ecc_errors><volatile><dram_uncorrectable>0</dram_uncorrectable></volatile>
		<aggregate><dram_uncorrectable>7</dram_uncorrectable></aggregate></ecc_errors>
		<remapped_rows><remapped_row_pending>Yes</remapped_row_pending><remapped_row_failure>No</remapped_row_failure></remapped_rows>
		<temperature><gpu_temp>88 C</gpu_temp></temperature>
		<gpu_power_readings><power_draw>300.50 W</power_draw></gpu_power_readings>
		<clocks><sm_clock>1980 MHz</sm_clock><mem_clock>2619 MHz</mem_clock></clocks>
		<max_clocks><sm_clock>1990 MHz</sm_clock></max_clocks>
	</gpu>
	<gpu id="00000000:9C:00.0"><performance_state>P8</performance_state></gpu>
</nvidia_smi_log>
"""
EXPECTED = {
    "gpu.pcie.generation": 1.0, "gpu.pcie.generation_max": 5.0, "gpu.pcie.width": 8.0, "gpu.pcie.width_max": 16.0,
    "gpu.performance_state": 0.0, "gpu.clocks_event.idle": 0.0, "gpu.clocks_event.hardware_slowdown": 1.0,
    "gpu.clocks_event.hardware_thermal": 1.0, "gpu.clocks_event.power_brake": 0.0, "gpu.memory.used_bytes": 1024.0 * 2**20,
    "gpu.busy_ratio": 0.97, "gpu.memory.busy_ratio": 0.4, "gpu.ecc.uncorrected": 0.0, "gpu.remapped_rows.pending": 1.0,
    "gpu.remapped_rows.failed": 0.0, "gpu.temperature_celsius": 88.0, "gpu.power_w": 300.5, "gpu.clock.sm_hz": 1.98e9,
    "gpu.clock.memory_hz": 2.619e9, "gpu.clock.sm_max_hz": 1.99e9,
}
CSV = """timestamp, index, uuid, utilization.gpu [%], memory.used [MiB], power.draw [W], clocks.sm [MHz], pstate, \
clocks_event_reasons.active
2026/01/01 00:00:00.000, 0, GPU-aa, 97 %, 1024 MiB, 300.50 W, 1410 MHz, P0, 0x0000000000000004
2026/01/01 00:00:01.000, 0, GPU-aa, [N/A], 1024 MiB, [N/A], 1410 MHz, P2, 0x0000000000000041
"""
DMON = """#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem   mclk   pclk     fb  rxpci  txpci
#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %    MHz    MHz     MB   MB/s   MB/s
 20260101   00:00:00      0     62     34      -      7      1   2619   1980   1024     10     20
 20260101   00:00:00      1     63     35      -      -      1   2619   1980   1024     10     20
"""
PMON = """# gpu         pid   type     sm    mem    enc    dec     fb    command
# Idx           #    C/G      %      %      %      %     MB    name
    0       1234     C     97     40      -      -   1024    python train
    1          -     -      -      -      -      -      -    -
"""
PS = """USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
root          77  9.9  0.1 168000 11000 ?        D    Jan01  12:01 /usr/bin/python train.py --token=hunter2
"""


def read(path, text, reader=None):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    reading = open_input(path, reader)
    rows = {"metric": [], "event": [], "log": []}
    for kind, batch in reading:
        rows[kind] += batch.to_pylist()
    return reading, rows["metric"], rows["event"]


@pytest.mark.parametrize(("text", "reader"), [(TEXT, "nvidia_smi"), (XML, "nvidia_smi_xml")])
def test_the_full_report_as_text_and_as_xml_says_the_same(tmp_path, text, reader):
    """Names, units, what is not supported left out, aggregate counters not taken for those since the driver was loaded."""
    reading, metrics, events = read(tmp_path / "q", text)

    assert reading.reader == reader
    assert [(one["entity.kind"], one["entity.id"], str(one["@timestamp"])[:19]) for one in metrics] == [
        ("gpu", UUID, "2026-01-01 00:00:00"), ("gpu", "0000:9c:00.0", "2026-01-01 00:00:00")]
    assert dict(metrics[0]["metrics"]) == pytest.approx(EXPECTED)
    assert dict(metrics[1]["metrics"]) == {"gpu.performance_state": 8.0}
    assert dict(metrics[0]["labels"]) == {"gpu.pci.address": "0000:9b:00.0", "gpu.name": "NVIDIA H100 80GB HBM3",
                                          "gpu.driver_version": "580.65.06"}
    assert [(one["event.action"], dict(one["labels"])["error.kind"], dict(one["labels"])["gpu.uuid"]) for one in events] == [
        ("gpu_error", "row_remap_pending", UUID)]


def test_repeated_reports_are_read_one_by_one(tmp_path):
    """As -l writes them, wherever a chunk ends."""
    for text in (TEXT, XML):
        _, metrics, events = read(tmp_path / "q", text * 3)
        assert len(metrics) == 6
        assert {dict(one["labels"])["error.kind"] for one in events} == {"row_remap_pending"}


@pytest.mark.parametrize("declared", ['<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">', '<!ENTITY b SYSTEM "file:///etc/passwd">'])
def test_xml_that_declares_entities_is_refused(tmp_path, declared):
    """Before any of it is put in."""
    bomb = (f'<?xml version="1.0"?>\n<!DOCTYPE nvidia_smi_log [{declared}]>\n'
            "<nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>")

    with pytest.raises(InputError, match="entities is refused"):
        read(tmp_path / "q", bomb)


def test_csv_is_read_by_its_header(tmp_path):
    """With units and without them, flags out of the bit mask, [N/A] left out."""
    reading, metrics, _ = read(tmp_path / "a.csv", CSV)
    first, second = (dict(one["metrics"]) for one in metrics)

    assert (reading.reader, metrics[0]["entity.id"], str(metrics[1]["@timestamp"])[:19]) == (
        "nvidia_smi_csv", "GPU-aa", "2026-01-01 00:00:01")
    assert (first["gpu.busy_ratio"], first["gpu.memory.used_bytes"], first["gpu.power_w"], first["gpu.clock.sm_hz"]) == (
        0.97, 1024 * 2**20, 300.5, 1.41e9)
    assert (first["gpu.clocks_event.software_power_cap"], second["gpu.clocks_event.hardware_thermal"]) == (1.0, 1.0)
    assert "gpu.busy_ratio" not in second
    bare = CSV.replace(" [%]", "").replace(" [MiB]", "").replace(" %,", ",").replace(" MiB,", ",").replace(" W,", ",").replace(" MHz,", ",")
    assert dict(read(tmp_path / "b.csv", bare)[1][0]["metrics"]) == first


def test_csv_without_a_header_says_what_to_do(tmp_path):
    """Nobody can know its columns."""
    reading, metrics, _ = read(tmp_path / "a.csv", CSV.partition("\n")[2], "nvidia_smi_csv")

    assert (metrics, reading.rejected) == ([], 2)


def test_a_gpu_that_cannot_be_reached_is_an_error(tmp_path):
    """nvidia-smi says so in a line of its own."""
    _, _, events = read(tmp_path / "a.csv", CSV + "Unable to determine the device handle for GPU 0000:9B:00.0: Unknown Error\n")

    assert [(one["event.action"], dict(one["labels"])["error.kind"], dict(one["labels"])["gpu.pci.address"]) for one in events] == [
        ("gpu_error", "gpu_lost", "0000:9b:00.0")]


def test_dmon_is_read_with_times_and_without(tmp_path):
    """Without them a second is assumed between rows, and said."""
    reading, metrics, _ = read(tmp_path / "d", DMON)
    assert (reading.reader, reading.notes) == ("nvidia_smi_table", [])
    assert [(one["entity.id"], str(one["@timestamp"])[:19]) for one in metrics] == [
        ("0", "2026-01-01 00:00:00"), ("1", "2026-01-01 00:00:00")]
    assert dict(metrics[0]["metrics"]) == pytest.approx({
        "gpu.power_w": 62, "gpu.temperature_celsius": 34, "gpu.busy_ratio": 0.07, "gpu.memory.busy_ratio": 0.01,
        "gpu.clock.memory_hz": 2.619e9, "gpu.clock.sm_hz": 1.98e9, "gpu.memory.used_bytes": 1024 * 2**20,
        "gpu.pcie.receive_bytes_per_s": 1e7,
        "gpu.pcie.transmit_bytes_per_s": 2e7})
    bare = "# gpu    pwr  gtemp     sm\n# Idx      W      C      %\n    0     62     34      7\n    0     63     34      8\n"
    reading, metrics, _ = read(tmp_path / "e", bare)

    assert (metrics[1]["@timestamp"] - metrics[0]["@timestamp"]).total_seconds() == 1
    assert "-o DT" in reading.notes[0]


def test_pmon_tells_which_process_holds_how_much(tmp_path):
    """And how many processes are on a GPU."""
    _, metrics, _ = read(tmp_path / "p", PMON)

    assert [(one["entity.kind"], one["entity.id"], dict(one["metrics"])) for one in metrics] == [
        ("gpu", "0", {"gpu.processes": 1.0}), ("process", "1234", {"process.gpu.memory_bytes": 1024.0 * 2**20}),
        ("gpu", "1", {"gpu.processes": 0.0})]


def test_lists_of_processes_are_read_without_arguments(tmp_path):
    """Arguments may hold secrets."""
    reading, metrics, _ = read(tmp_path / "ps", PS)

    assert (reading.reader, metrics[0]["process.pid"]) == ("process_list", 77)
    assert dict(metrics[0]["metrics"]) == {"process.memory.rss_bytes": 11000 * 1024.0, "process.cpu_s": 721.0}
    assert dict(metrics[0]["labels"]) == {"process.pid": "77", "process.name": "python", "process.state": "D", "user.name": "root",
                                          "process.cpu_percent": "9.9"}
    assert "hunter2" not in str(metrics)


def test_a_bug_report_is_read_by_its_sections(tmp_path):
    """nvidia-smi, the kernel's log once though it is in it twice, processes; the rest is passed over."""
    rule = "____________________________________________\n\n"
    kernel = "[   12.345678] NVRM: Xid (PCI:0000:9b:00): 79, pid=1, GPU has fallen off the bus.\n"
    text = (f"{rule}Start of NVIDIA bug report log file.\n\nnvidia-bug-report.sh Version: 1\n{rule}*** /etc/os-release\nNAME=x\n{rule}"
            f"/usr/bin/nvidia-smi --query\n{TEXT}{rule}*** /bin/dmesg\n{kernel}{rule}journalctl\n{kernel}{rule}ps\n{PS}")
    reading, metrics, events = read(tmp_path / "nvidia-bug-report.log.gz", gzip.compress(text.encode()))

    assert reading.reader == "nvidia_bug_report"
    assert sorted({one["entity.kind"] for one in metrics}) == ["gpu", "process"]
    assert [dict(one["labels"])["error.kind"] for one in events] == ["row_remap_pending", "xid"]


@pytest.mark.parametrize(("text", "reader"), [
    (TEXT, "nvidia_smi"), (XML, "nvidia_smi_xml"), (CSV, "nvidia_smi_csv"), (DMON, "nvidia_smi_table"), (PMON, "nvidia_smi_table"),
    (PS, "process_list"), (f"Start of NVIDIA bug report log file.\n{TEXT}", "nvidia_bug_report")])
def test_every_prefix_is_read_or_refused(tmp_path, text, reader):
    """A file that was cut never crashes, nor does one with rubbish in it."""
    for size in range(0, len(text), 23):
        for rubbish in ("", "\x00\xff", ", ,,\n: : :\n<<>>\n# gpu pid\n"):
            with contextlib.suppress(InputError):
                read(tmp_path / "cut", text[:size] + rubbish, reader)


def test_names_are_those_of_the_table_of_metrics():
    """A metric that the table does not know would be none."""
    assert set(_METRICS) <= set(METRICS)
    assert {"utilization.gpu", "power.draw", "clocks.sm", "temperature.gpu", "memory.used", "pstate"} <= set(BY_QUERY)
