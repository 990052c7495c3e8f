"""The errors among the events of a run or a host, brought together where they belong together."""

import dataclasses

from models.view import Event
from pinchpoint.clock import NS
from pinchpoint.gpu_errors.descriptions import ENDS, STARTS, read_description
from pinchpoint.gpu_errors.findings import SEVERITIES, Finding
from pinchpoint.gpu_errors.kernel_lines import read_line
from pinchpoint.gpu_errors.rules import job_rules
from pinchpoint.gpu_errors.xids import meaning_of

#: Actions of events that are errors.
ACTIONS = ("gpu_error", "oom", "storage_stall", "pcie_error", "link_down", "kernel_panic", "hardware_error", "job_error",
           "maintenance", *STARTS)
#: Kinds that a job tells of in its own words, which seldom name a GPU.
JOB_KINDS = frozenset(rule.kind for rule in job_rules())
#: Errors of one host with less than this between them are one story: a GPU that falls off the bus takes the file system with it.
SAME_STORY_S = 600.0
#: More than this is no list of incidents any more; the rest is counted in the last one.
MOST_INCIDENTS = 2000


#: Errors of the memory of a GPU: double-bit error, page retired or row remapped, that failed, contained and uncontained error, and those
#: of later chips (NVIDIA's catalogue of XIDs). A corrected error is none.
_MEMORY_XIDS = frozenset(("48", "63", "64", "94", "95", "140", "171", "172"))
_MEMORY_KINDS = frozenset(("ecc_uncorrected", "ecc_storm", "row_remap", "row_remap_pending", "row_remap_failed", "poison", "poison_fatal"))
#: The driver has lost the GPU, or it does not answer.
_LOST_XIDS = frozenset(("79", "143", "158", "167"))
_LOST_KINDS = frozenset(("gpu_lost", "gpu_init_failed", "gpu_unavailable", "gpu_unresponsive"))


@dataclasses.dataclass(frozen=True, slots=True)
class Error:
    """One error that was reported."""

    event: Event
    finding: Finding | None
    """What it is; None where the report says nothing of it."""
    end_ns: int

    @property
    def severity(self) -> str:
        return self.finding.severity if self.finding is not None else "error"

    @property
    def planned(self) -> bool:
        return self.finding is not None and self.finding.blame == "planned"


def errors_of(events: list[Event]) -> list[Error]:
    """Every error among events in order of time; an entry of a fault list ends where the list says so."""
    ends = _ends(events)
    found = []
    for event in events:
        if event.action in ACTIONS:
            end_ns = event.time_ns
            if event.action in STARTS:
                later = [time_ns for time_ns in ends.get((event.host, event.reason), []) if time_ns >= event.time_ns]
                end_ns = min(later, default=event.time_ns)
            found.append(Error(event, finding_of(event), end_ns))
    return found


def _ends(events: list[Event]) -> dict[tuple[str | None, str | None], list[int]]:
    ends: dict[tuple[str | None, str | None], list[int]] = {}
    for event in events:
        if event.action in ENDS:
            ends.setdefault((event.host, event.reason), []).append(event.time_ns)
    return ends


def finding_of(event: Event) -> Finding | None:
    """What an event says: by its labels where a shipper of ours wrote it, else by its words."""
    details = event.details
    if "error.kind" in details:
        xid = details.get("xid", "")
        severity = details.get("error.severity") or (meaning_of(int(xid)).severity if xid.isdecimal() else "error")
        return Finding(event.action, details["error.kind"], details.get("error.blame", "unknown"),
                       severity if severity in SEVERITIES else "error", event.reason or details["error.kind"], details.get("error.fix"),
                       details.get("error.device") or details.get("gpu.pci.address") or details.get("gpu.uuid"),
                       tuple((key, value) for key, value in details.items() if not key.startswith(("error.", "log."))))
    read = read_line(event.reason or "") or read_description(event.reason)
    if read is None or event.action in STARTS:
        return read
    return dataclasses.replace(read, action=event.action, severity="error")


def is_of_memory(finding: Finding) -> bool:
    """Whether the memory of a GPU made an error that was not corrected, or a row of it was replaced."""
    return finding.kind in _MEMORY_KINDS or xid_of(finding) in _MEMORY_XIDS


def is_lost(finding: Finding) -> bool:
    """Whether a GPU fell off the bus, or does not answer."""
    return finding.kind in _LOST_KINDS or xid_of(finding) in _LOST_XIDS


def xid_of(finding: Finding) -> str:
    """The number of an XID, empty for other errors."""
    return dict(finding.labels).get("xid", "")


def stories(errors: list[Error]) -> list[list[Error]]:
    """Errors of a host that follow each other, oldest first; what was done on purpose stands apart from what broke."""
    found: list[list[Error]] = []
    last: dict[tuple[str | None, bool], list[Error]] = {}
    for error in sorted(errors, key=lambda one: one.event.time_ns):
        key = (error.event.host, error.planned)
        story = last.get(key)
        if story is None or (error.event.time_ns - story[-1].event.time_ns > SAME_STORY_S * NS and len(found) < MOST_INCIDENTS):
            story = last[key] = []
            found.append(story)
        story.append(error)
    return found
