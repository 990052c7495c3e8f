"""What error numbers and messages mean: the catalogue of XIDs, lines of the kernel, descriptions of faults."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint.clock import NS
from pinchpoint.gpu_errors import Xid, meaning_of
from pinchpoint.gpu_errors.addresses import pci_address
from pinchpoint.gpu_errors.descriptions import read_description
from pinchpoint.gpu_errors.findings import SEVERITIES
from pinchpoint.gpu_errors.kernel_lines import read_identity, read_line
from pinchpoint.gpu_errors.once import MOST_REMEMBERED, Once
from pinchpoint.gpu_errors.rules import fault_words, kernel_rules
from pinchpoint.gpu_errors.xids import switch_meaning_of

BLAMES = {"hardware", "program", "driver", "power_or_cooling", "unknown", "limits", "planned"}


def test_every_documented_number_has_a_meaning():
    """NVIDIA's catalogue goes to 172; each has a sentence, somebody to blame and something to do."""
    entries = [meaning_of(number) for number in range(1, 173)]

    assert [one.number for one in entries] == list(range(1, 173))
    assert [one for one in entries if one.name == "undocumented"] == []
    assert all(one.meaning and one.fix and one.blame in BLAMES for one in entries)


@pytest.mark.parametrize(("number", "blame", "fatal"), [
    (13, "program", False), (31, "program", False), (43, "program", False), (48, "hardware", True), (63, "hardware", False),
    (74, "hardware", True), (79, "hardware", True), (94, "hardware", False), (95, "hardware", True), (119, "driver", True),
    (54, "power_or_cooling", True),
])
def test_the_numbers_people_meet_are_blamed_as_nvidia_does(number, blame, fatal):
    """Whose fault, and whether the GPU goes on."""
    xid = meaning_of(number)

    assert (xid.blame, xid.fatal) == (blame, fatal)


def test_an_unknown_number_says_so():
    """Nothing is made up for it."""
    assert meaning_of(9999) == Xid(9999, "undocumented", "XID 9999 is not in the catalogue", "unknown",
                                   "look it up in NVIDIA's catalogue of XIDs, or ask the vendor", False)
    assert switch_meaning_of(12345, True).fatal


XID_LINES = [
    ("NVRM: Xid (PCI:0000:9b:00): 119, pid=4711, name=nvidia-smi, Timeout after 6s of waiting for RPC response from GPU0 GSP!",
     "119", "0000:9b:00.0", "fatal", {"process.pid": "4711", "process.name": "nvidia-smi"}),
    ("NVRM: Xid (0000:01:00): 13, 0003 00000000 0000a0b5 00000200", "13", "0000:01:00.0", "error", {}),
    ("NVRM: Xid (PCI:0000:38:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception on (GPC 9, TPC 1, SM 1)",
     "13", "0000:38:00.0", "error", {}),
    ("NVRM: Xid (PCI:0000:01:00): 32, Channel ID 00000005 intr 00008000", "32", "0000:01:00.0", "error", {}),
    ("NVRM: Xid (PCI:0000:9b:00 GPU-I:05): 43, pid=7, name=python, Ch 8", "43", "0000:9b:00.0", "error", {"gpu.instance": "05"}),
    ("NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 08", "149", "0018:01:00.0", "fatal", {}),
    ("NVRM: Xid (PCI:0018:01:00): 145, RLW_REMAP  Nonfatal XC1 i0 Link 08", "145", "0018:01:00.0", "error", {}),
    ("NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping, reset gpu to activate.", "63",
     "0000:10:1c.0", "warning", {}),
    ("NVRM: Xid (PCI:0000:01:00): 45, pid=7, name=python, Ch 00000010", "45", "0000:01:00.0", "warning", {}),
]


@pytest.mark.parametrize(("line", "number", "device", "severity", "labels"), XID_LINES)
def test_xids_are_read_in_every_spelling(line, number, device, severity, labels):
    """Old drivers and new ones, with process and without, of MIG instances."""
    found = read_line(line)

    assert found is not None
    assert (found.action, found.kind, found.device, found.severity) == ("gpu_error", "xid", device, severity)
    assert dict(found.labels) == dict(found.labels) | {"xid": number, "gpu.pci.address": device} | labels
    assert "<unknown>" not in str(found.labels)


@pytest.mark.parametrize(("line", "kind", "severity", "device"), [
    ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress PRIV error", "sxid", "warning", "0000:05:00.0"),
    ("nvidia-nvswitch0: SXid (PCI:0000:59:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", "sxid", "fatal", "0000:59:00.0"),
    ("detected NVSwitch fatal error 20034 on fid 0 on NVSwitch pci bus id 00000000:86:00.0 physical id 3 port 33", "sxid", "fatal",
     "0000:86:00.0"),
    ("NVRM: GPU 0000:04:00.0: GPU has fallen off the bus.", "gpu_lost", "fatal", "0000:04:00.0"),
    ("NVRM: GPU at PCI:0000:9b:00: has fallen off the bus.", "gpu_lost", "fatal", "0000:9b:00.0"),
    ("NVRM: GPU 0000:81:00.0: RmInitAdapter failed! (0x25:0x40:1470)", "gpu_init_failed", "fatal", "0000:81:00.0"),
    ("Out of memory: Killed process 123 (python) total-vm:1kB, anon-rss:1kB", "oom_kill", "error", None),
    ("Out of memory: Kill process 82 (python) score 71 or sacrifice child", "oom_kill", "error", None),
    ("Out of memory: Killed process 81, UID 33, (java).", "oom_kill", "error", None),
    ("Memory cgroup out of memory: Killed process 123 (python) total-vm:1kB", "oom_kill", "error", None),
    ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,task=python,pid=9,uid=0", "oom_kill", "error", None),
    ("python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0", "oom_kill", "error", None),
    ("Kernel panic - not syncing: Fatal exception in interrupt", "kernel_panic", "fatal", None),
    ("watchdog: BUG: soft lockup - CPU#0 stuck for 27s! [python:123]", "soft_lockup", "error", None),
    ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", "hard_lockup", "fatal", None),
    ("rcu: INFO: rcu_sched self-detected stall on CPU", "rcu_stall", "error", None),
    ("INFO: task jbd2/dm-0-8:1071 blocked for more than 120 seconds.", "hung_task", "error", None),
    ("BUG: unable to handle page fault for address: ffffa0", "kernel_oops", "fatal", None),
    ("nfs: server 10.0.0.1 not responding, still trying", "nfs_stall", "error", "10.0.0.1"),
    ("LustreError: 11-0: s-OST0001-osc: operation ost_connect to node 10.1.1.1@o2ib failed: rc = -19", "lustre_stall", "error", None),
    ("blk_update_request: I/O error, dev sda, sector 12 op 0x0:(READ)", "disk_error", "error", "sda"),
    ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "disk_error", "error", "nvme0"),
    ("EXT4-fs (sda1): Remounting filesystem read-only", "filesystem_error", "error", None),
    ("pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0", "pcie_corrected", "warning", "0000:01:00.0"),
    ("pcieport 0000:00:01.0: AER: Uncorrected (Fatal) error received: 0000:01:00.0", "pcie_uncorrected", "error", "0000:01:00.0"),
    ("nvidia 0000:9b:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=x", "pcie_uncorrected", "error", "0000:9b:00.0"),
    ("mlx5_core 0000:5c:00.0 ens1: Link down", "link_down", "warning", "ens1"),
    ("ixgbe 0000:01:00.0 eth0: NIC Link is Down", "link_down", "warning", "eth0"),
    ("mlx5_core 0000:5c:00.0: mlx5_pcie_event:301: Detected insufficient power on the PCIe slot (27W).", "nic_error", "error",
     "0000:5c:00.0"),
    ("mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 7: be00", "machine_check", "error", None),
    ("mce: [Hardware Error]: Machine check events logged", "machine_check_logged", "warning", None),
    ("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", "memory_uncorrected", "fatal", None),
    ("CPU3: Core temperature above threshold, cpu clock throttled (total events = 1)", "cpu_thermal", "warning", None),
    ("pt_main_thread[253]: segfault at 7f79 ip 00007f sp 00007f error 4 in libnccl.so.2[7f7c+d3d]", "program_crash", "error", None),
])
def test_other_errors_are_read_by_the_table(line, kind, severity, device):
    """One real spelling of each kind."""
    found = read_line(line)

    assert found is not None
    assert (found.kind, found.severity, found.device) == (kind, severity, device)
    assert "{" not in found.reason


@pytest.mark.parametrize("line", [
    "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.104.05",
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 235", "eth0: Link is up at 1000 Mbps",
    "mlx5_core 0000:5c:00.0 ens1: Link up", "EXT4-fs (sda1): mounted filesystem with ordered data mode", "thermal_sys: Registered governor",
    "pcieport 0000:00:01.0: AER: enabled with IRQ 24", "random: crng init done", "EDAC MC: Ver: 3.0.0",
    "nvidia 0000:9b:00.0: enabling device (0140 -> 0142)", "NVRM:     entry function                   data0              data1",
    "traps: foo[12] general protection fault ip:7ff sp:7f error:0 in libc.so",
    "ACPI: Early table checksum verification disabled", "mce: CPU0: Thermal monitoring enabled (TM1)", "",
])
def test_lines_of_a_healthy_host_are_no_errors(line):
    """What every boot writes."""
    assert read_line(line) is None


def test_a_memory_cgroup_is_told_from_the_host():
    """The limit of a container is somebody's setting."""
    found = read_line("Memory cgroup out of memory: Killed process 123 (python) total-vm:1kB")

    assert dict(found.labels)["oom.scope"] == "cgroup"
    assert found.reason == "the kernel killed the process python for want of memory, of the limit of its control group"


def test_the_uuid_of_a_gpu_is_read_from_the_line_that_tells_it():
    """It comes once, before the first XID."""
    line = "NVRM: GPU at PCI:0000:9b:00: GPU-0a1b2c3d-1111-2222-3333-444455556666"

    assert read_identity(line) == ("0000:9b:00.0", "GPU-0a1b2c3d-1111-2222-3333-444455556666")
    assert read_line(line) is None


@pytest.mark.parametrize("piece", ["NVRM: ", "NVRM: Xid (PCI:", "nvlink ", "AER: ", "0000:", "task ", "(", "a", " in lib", "amdgpu ",
                                   "I/O error ", "Lustre: ", "oom-kill:constraint=A", "rcu ", "mlx5_core 0000:5c:00.0 ", "1:",
                                   "pid=", "\x00", "é"])
def test_a_hostile_line_costs_no_more_than_its_length(piece):
    """A line of repetitions takes milliseconds, however long it is."""
    line = piece * (1_000_000 // len(piece))
    begin = time.perf_counter()
    for _ in range(10):
        read_line(line)

    assert time.perf_counter() - begin < 2.0


@given(st.text(max_size=300))
def test_any_text_is_a_line(text):
    """Nothing that a kernel or a forger writes is an error of ours; what is found is complete."""
    for line in (text, f"NVRM: Xid (PCI:{text}): 79", f"NVRM: Xid (PCI:0000:9b:00): 79, {text}", f"AER: {text}",
                 f"{text}: NIC Link is Down"):
        found = read_line(line)
        if found is not None:
            assert found.severity in SEVERITIES
            assert found.blame in BLAMES
            assert all(isinstance(value, str) for value in found.event_labels().values())


def test_the_tables_are_complete():
    """Every rule has a known severity, blame and a sentence, and no repetition without a bound."""
    for rule in kernel_rules():
        assert rule.severity in SEVERITIES
        assert rule.blame in BLAMES
        assert rule.reason
        assert not any(mark in rule.pattern.pattern for mark in (".*", ".+", "*)", "+)"))
    assert all(rule.blame in BLAMES for rule in fault_words())


def test_many_lines_of_one_thing_are_told_once_a_minute():
    """Kind, number and device make the same thing; another device is another thing; the same line again is told again."""
    once = Once()
    first, other = read_line(XID_LINES[0][0]), read_line(XID_LINES[0][0].replace("9b", "9c"))

    assert [once.is_first(first, 0, 1), once.is_first(first, NS, 2), once.is_first(other, NS, 3), once.is_first(first, 61 * NS, 4)] == [
        True, False, True, True]
    assert once.is_first(first, 0, 1)


def test_what_is_remembered_is_bounded():
    """However many devices a forger names."""
    once = Once()
    for number in range(MOST_REMEMBERED + 100):
        once.is_first(read_line(f"NVRM: Xid (PCI:{number:04x}:9b:00): 79"), 0, number)

    assert len(once._first) == MOST_REMEMBERED


@pytest.mark.parametrize(("text", "action", "blame"), [
    ("GPU DBE(Double Bit ECC) > Threshold", "gpu_error", "hardware"), ("GPU Lost", "gpu_error", "hardware"),
    ("GPU PCI link width low", "pcie_error", "hardware"), ("Link Down", "link_down", "hardware"),
    ("Power Supply Failure detected", "hardware_error", "power_or_cooling"),
    ("Speed Critical (Sensor)", "hardware_error", "power_or_cooling"),
    ("Temporarily Offline", "maintenance", "planned"), ("Planned maintenance", "maintenance", "planned"),
    ("Kernel upgrade", "maintenance", "planned"), ("NIC offline", "link_down", "hardware"),
    ("Stress test failed", "hardware_error", "hardware"),
    ("nvidia-smi Timeout", "gpu_error", "driver"), ("Kernel Panic", "kernel_panic", "unknown"), ("Low", "hardware_error", "unknown"),
])
def test_descriptions_of_faults_are_placed_by_their_words(text, action, blame):
    """Hardware, what was done on purpose, and what says only that there is a fault."""
    found = read_description(text)

    assert (found.action, found.blame) == (action, blame)


@pytest.mark.parametrize("text", ["Unknown Error", "unknown", "", None, "N/A", "-"])
def test_a_description_that_says_nothing_is_none(text):
    """It is not guessed at."""
    assert read_description(text) is None


def test_addresses_have_one_spelling():
    """NVML, the driver and lspci write the same address differently."""
    assert {pci_address(text) for text in ("00000000:9B:00.0", "0000:9b:00", "PCI:0000:9b:00", "9b:00.0")} == {"0000:9b:00.0"}
    with pytest.raises(ValueError, match="no PCI address"):
        pci_address("somewhere")
