"""What a finding among kernel messages and fault lists says, and what becomes of it as an event."""

import dataclasses

#: How bad a single line is. `fatal`: a device or node is of no use until somebody acts. `error`: work ended or stood still.
#: `warning`: mends itself; only many of them mean something.
SEVERITIES = ("fatal", "error", "warning")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One error, read from one line."""

    action: str
    """`event.action`: gpu_error, oom, storage_stall, pcie_error, link_down, kernel_panic, hardware_error, job_error or maintenance."""
    kind: str
    """Short slug: xid, sxid, gpu_lost, oom_kill, nfs_stall …"""
    blame: str
    """hardware, program, driver, power_or_cooling, limits (of memory), planned or unknown."""
    severity: str
    reason: str
    """One plain sentence."""
    fix: str | None = None
    """What to do about this very error, where a catalogue says so."""
    device: str | None = None
    """What it is about, where the line says so: a PCI address, a network port, a disk. Of a GPU it is the label `gpu.pci.address` of
    the event, or `gpu.uuid`; of everything else `error.device`."""
    labels: tuple[tuple[str, str], ...] = ()

    def event_labels(self) -> dict[str, str]:
        """The labels of the event that this becomes."""
        labels = {"error.kind": self.kind, "error.blame": self.blame, "error.severity": self.severity, **dict(self.labels)}
        if self.fix is not None:
            labels["error.fix"] = self.fix
        if self.device is not None and self.device not in (labels.get("gpu.pci.address"), labels.get("gpu.uuid")):
            labels["error.device"] = self.device
        return labels

    @property
    def sameness(self) -> str:
        """What two lines share that tell of the same thing: many of them in a minute become one event."""
        labels = dict(self.labels)
        return "\x1f".join((self.kind, labels.get("xid", labels.get("sxid", "")), self.device or "", labels.get("oom.process", "")))
