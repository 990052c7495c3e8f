"""Read messages of the kernel for errors: NVIDIA's XIDs and SXIDs here, everything else by the table of rules."""

import re

from pinchpoint.gpu_errors.addresses import pci_address
from pinchpoint.gpu_errors.findings import Finding
from pinchpoint.gpu_errors.rules import Rule, kernel_rules
from pinchpoint.gpu_errors.xids import meaning_of, switch_meaning_of

#: What stands beyond this in a message is not looked at, which bounds the time for a line.
MOST_CHARACTERS = 1000

_ADDRESS = r"(?:PCI:)?(?P<pci>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.[0-7])?"
# old drivers leave out "PCI:", newer ones the function; MIG adds an instance
_XID = re.compile(rf"NVRM: Xid \({_ADDRESS}(?: GPU-I:(?P<instance>\d{{1,3}}))?[^)]{{0,40}}\): (?P<number>\d{{1,5}})(?P<rest>,.*)?")
_PROCESS = re.compile(r", pid='?(?P<pid>[^,']{1,20})'?(?:, name=(?P<name>[^,]{1,64}))?")
_SXID = re.compile(r"nvidia-nvswitch\d{1,3}: SXid \(PCI:(?P<pci>[0-9a-fA-F:.]{7,20})\): (?P<number>\d{1,5}), ?(?P<rest>.*)")
# as the fabric manager writes it
_FABRIC = re.compile(r"detected NVSwitch (?P<fatal>(?:non-)?fatal) error (?P<number>\d{1,5})"
                     r".{0,80}?pci bus id (?P<pci>[0-9a-fA-F:.]{7,20})")
_IDENTITY = re.compile(rf"NVRM: GPU at {_ADDRESS}: (?P<uuid>GPU-[0-9a-fA-F-]{{8,40}})")
# what any rule needs: most lines of a healthy kernel hold none of it
_WORTH_IT = re.compile(
    r"NVRM|SXid|NVSwitch|nvidia-peermem|nv_peer_mem|amdgpu|[Oo]ut of memory|oom|panic|LOCKUP|lockup|stall|starved|blocked for|segfault|"
    r"protection fault|Oops|BUG|file-max|nfs:|Lustre|mmfs|GPFS|ceph|rror|timeout|timed out|not ready|is down|probe failure|No space|"
    r"Disk failure|AER|PCIe|DPC|[Ll]ink|carrier|health|power|unplugged|High Temp|state|WATCHDOG|EDAC|temperature|ilesystem|critical")
_INFORMATION = re.compile(r"(?i)\bnon-?fatal\b")


def read_line(message: str) -> Finding | None:
    """The error a message of the kernel tells of; None when it tells of none.

    Args:
        message: without time, host and `kernel:`.

    >>> finding = read_line("NVRM: Xid (PCI:0000:9b:00): 79, pid=7, name=python, GPU has fallen off the bus.")
    >>> finding.reason, finding.device, finding.severity
    ('XID 79: the GPU has fallen off the bus: the driver cannot reach it over PCIe', '0000:9b:00.0', 'fatal')
    >>> read_line("eth0: Link is up") is None
    True
    """
    message = message[:MOST_CHARACTERS]
    if _WORTH_IT.search(message) is None:
        return None
    match = _XID.search(message)
    if match is not None:
        return _xid(match)
    match = _SXID.search(message)
    if match is not None:
        return _sxid(match["number"], match["pci"], match["rest"])
    match = _FABRIC.search(message)
    if match is not None:
        return _sxid(match["number"], match["pci"], match["fatal"])
    for rule in kernel_rules():
        match = rule.pattern.search(message)
        if match is not None:
            return by_rule(rule, match)
    return None


def read_identity(message: str) -> tuple[str, str] | None:
    """The PCI address and UUID of a GPU, which the driver tells once before its first XID; None in any other message.

    >>> read_identity("NVRM: GPU at PCI:0000:9b:00: GPU-0a1b2c3d-1111-2222-3333-444455556666")
    ('0000:9b:00.0', 'GPU-0a1b2c3d-1111-2222-3333-444455556666')
    """
    match = _IDENTITY.search(message[:MOST_CHARACTERS])
    return (pci_address(match["pci"]), match["uuid"]) if match is not None else None


def _xid(match: re.Match[str]) -> Finding:
    xid = meaning_of(int(match["number"]))
    address = pci_address(match["pci"])
    rest = match["rest"] or ""
    labels = {"xid": str(xid.number), "xid.name": xid.name, "gpu.pci.address": address}
    process = _PROCESS.match(rest)
    if process is not None:
        labels |= {key: value for key, value in (("process.pid", process["pid"]), ("process.name", process["name"]))
                   if value and "unknown" not in value}
    if match["instance"] is not None:
        labels["gpu.instance"] = match["instance"]
    # of NVLink 5 and of channels the same number comes in both, and the line says which
    severity = "error" if xid.severity == "fatal" and _INFORMATION.search(rest) else xid.severity
    if xid.number == 154 and "None" in rest:  # the recovery action that is needed
        severity = "warning"
    return Finding("gpu_error", "xid", xid.blame, severity, f"XID {xid.number}: {xid.meaning}", xid.fix, address, tuple(labels.items()))


def _sxid(number: str, pci: str, rest: str) -> Finding:
    fatal = _INFORMATION.search(rest) is None and "fatal" in rest.lower()
    sxid = switch_meaning_of(int(number), fatal)
    try:
        address = pci_address(pci)
    except ValueError:
        address = pci
    return Finding("gpu_error", "sxid", "hardware", "fatal" if fatal else "warning", f"SXID {sxid.number}: {sxid.meaning}", sxid.fix,
                   address, (("sxid", str(sxid.number)), ("sxid.name", sxid.name)))


def by_rule(rule: Rule, match: re.Match[str]) -> Finding:
    """What a rule says of the message that it was found in."""
    groups = {name: (value or "").strip() for name, value in match.groupdict().items()}
    device = groups.get("device") or groups.get("disk") or None
    labels = {name.replace("_", "."): groups[name] for name in rule.labels if groups.get(name)}
    if rule.action in ("gpu_error", "pcie_error") and device is not None:
        device = pci_address(device)
        if rule.action == "gpu_error":
            labels["gpu.pci.address"] = device
    blame, reason = rule.blame, rule.reason.format_map(groups)
    if groups.get("group", "").startswith("Memory cgroup") or labels.get("oom.constraint") == "CONSTRAINT_MEMCG":
        labels["oom.scope"] = "cgroup"
        reason += ", of the limit of its control group"
    return Finding(rule.action, rule.kind, blame, rule.severity, reason.rstrip(": "), None, device, tuple(labels.items()))
