"""Make records of what happens to GPUs: of what the driver tells, and of what differs between two readings, each once."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint.clock import NS
from pinchpoint.gpu_errors import meaning_of
from pinchpoint.gpu_errors.events import event_document
from pinchpoint.gpu_errors.findings import Finding

_ACTIONS = {1: "be reset", 2: "have its node rebooted", 3: "be drained of peer-to-peer traffic", 4: "be drained and reset",
            5: "have its IMEX domain recovered", 6: "have its bus reset", 7: "have its system rebooted"}
#: Whom to blame, how bad it is, and the sentence.
_SAYS: dict[str, tuple[str, str, str]] = {
    "ecc_corrected": ("hardware", "warning", "memory errors were corrected"),
    "ecc_uncorrected": ("hardware", "error", "a memory error could not be corrected"),
    "ecc_storm": ("hardware", "error", "memory errors are corrected one after the other"),
    "row_remap": ("hardware", "warning", "a row of memory was replaced"),
    "row_remap_pending": ("hardware", "error", "a row of memory waits for a reset of the GPU to be replaced"),
    "row_remap_failed": ("hardware", "fatal", "a row of memory could not be replaced"),
    "poison": ("hardware", "error", "bad data of memory reached a program, which can be ended alone"),
    "poison_fatal": ("hardware", "fatal", "bad data of memory reached the GPU, which has to be reset"),
    "power_source": ("power_or_cooling", "warning", "the power source of the GPU changed"),
    "gpu_unavailable": ("hardware", "fatal", "the GPU is unavailable"),
    "gpu_lost": ("hardware", "fatal", "the driver has lost the GPU: it fell off the bus"),
    "gpu_returned": ("unknown", "warning", "the GPU is back"),
    "gpu_unresponsive": ("driver", "error", "the driver did not answer for the GPU in time"),
    "events_unresponsive": ("driver", "warning", "waiting for events of the driver did not return: none are told for a while"),
    "gpu_recovered": ("unknown", "warning", "the driver answers for the GPU again"),
}
#: A reading that grows or changes, and what happened when it does.
_COMPARED = {"gpu.ecc.uncorrected": "ecc_uncorrected", "gpu.remapped_rows.corrected": "row_remap",
             "gpu.remapped_rows.uncorrected": "row_remap", "gpu.remapped_rows.pending": "row_remap_pending",
             "gpu.remapped_rows.failed": "row_remap_failed", "gpu.recovery_action": "recovery_action"}
_SAME_WITHIN_NS = 90 * NS
#: A GPU that goes wrong may tell thousands of times a second; the first ones say it.
_MOST_A_MINUTE, _MOST_SEEN_OFTEN = 10, 1
_SEEN_OFTEN = ("ecc_corrected", "power_source")


class News:
    """The events of the GPUs of a host; what is told again and again is kept to ten a minute."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._records: list[dict[str, Any]] = []
        self._before: dict[str, dict[str, float]] = {}
        self._last_ns: dict[tuple[str, str], int] = {}
        self._minute: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.held_back = 0
        """Events that were told too often."""

    def take(self) -> list[dict[str, Any]]:
        """The records since the last call."""
        records, self._records = self._records, []
        return records

    def tell(self, time_ns: int, identity: str, labels: Mapping[str, str], kind: str, number: int = 0, more: str = "") -> None:
        """Something happened to a GPU.

        Args:
            time_ns: when, UTC.
            identity: of the GPU, which tells its events from those of others.
            labels: what is known of it.
            kind: as in `error.kind`.
            number: of an XID or of a recovery action.
            more: said behind the reason.
        """
        self._last_ns[identity, kind] = time_ns
        minute, count = self._minute.get((identity, kind, number), (0, 0))
        minute, count = (minute, count + 1) if time_ns // (60 * NS) == minute else (time_ns // (60 * NS), 1)
        self._minute[identity, kind, number] = minute, count
        if count > (_MOST_SEEN_OFTEN if kind in _SEEN_OFTEN else _MOST_A_MINUTE):
            self.held_back += 1
            return
        finding = _finding(kind, number)
        if more:
            finding = dataclasses.replace(finding, reason=f"{finding.reason}: {more}")
        finding = dataclasses.replace(finding, labels=(*labels.items(), *finding.labels))
        self._records.append(event_document(finding, time_ns, host=self._host))

    def compare(self, time_ns: int, identity: str, labels: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Tell what happened between the readings before and these; the driver may have told it already."""
        before = self._before.setdefault(identity, {})
        for kind, number in dict(_changed(before, metrics)).items():
            if time_ns - self._last_ns.get((identity, kind), -_SAME_WITHIN_NS) >= _SAME_WITHIN_NS:
                self.tell(time_ns, identity, labels, kind, number)
        before.update((name, metrics[name]) for name in _COMPARED if name in metrics)


def _changed(before: Mapping[str, float], now: Mapping[str, float]) -> Iterator[tuple[str, int]]:
    for name, kind in _COMPARED.items():
        if name in before and now.get(name, 0.0) > before[name]:
            yield kind, int(now[name]) if kind == "recovery_action" else 0


def _finding(kind: str, number: int) -> Finding:
    if kind == "xid":
        xid = meaning_of(number)
        return Finding("gpu_error", kind, xid.blame, xid.severity, f"XID {number}: {xid.meaning}", xid.fix,
                       labels=(("xid", str(number)), ("xid.name", xid.name)))
    if kind == "recovery_action":
        if number not in _ACTIONS:
            return Finding("gpu_error", kind, "unknown", "warning", "the GPU needs no recovery any more")
        return Finding("gpu_error", kind, "hardware", "fatal", f"the GPU has to {_ACTIONS[number]}")
    return Finding("gpu_error", kind, *_SAYS[kind])
