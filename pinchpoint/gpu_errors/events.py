"""Make an event record of an error that was found."""

from typing import Any

from pinchpoint.clock import format_time
from pinchpoint.gpu_errors.findings import Finding


def event_document(finding: Finding, time_ns: int, *, host: str | None, gpu_uuid: str | None = None,
                   message: str | None = None) -> dict[str, Any]:
    """The event as a flat record without its kind and identity.

    Args:
        finding: what was found.
        time_ns: when, UTC ns.
        host: where, None where the input does not tell.
        gpu_uuid: of the GPU at the address that the finding names, where the driver has told it.
        message: the line.
    """
    labels = finding.event_labels()
    if gpu_uuid is not None:
        labels["gpu.uuid"] = gpu_uuid
    if message is not None:
        labels["log.message"] = message[:500]
    document: dict[str, Any] = {"@timestamp": format_time(time_ns), "event.action": finding.action, "event.reason": finding.reason,
                                "labels": labels}
    if host is not None:
        document["host.name"] = host
    return document
