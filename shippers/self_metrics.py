"""What the agent tells of itself: as records, and as a page for Prometheus."""

import os
import re
import resource
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pinchpoint.metrics import METRICS
from shippers.sources.reading import Reading

PREFIX = "agent."
_NOT_A_LETTER = re.compile(r"[^a-zA-Z0-9_]")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """One number at one time."""

    name: str
    value: float
    output: str | None = None
    """The output it is of; None for the agent as a whole."""


def of_process(uptime_s: float) -> Iterator[Sample]:
    """What this process takes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Sample("agent.cpu_s", used.ru_utime + used.ru_stime)
    yield Sample("agent.uptime_s", uptime_s)
    try:
        yield Sample("agent.memory.rss_bytes", float(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES)
    except (OSError, IndexError, ValueError):
        return


def readings(samples: Iterable[Sample], host: str) -> list[Reading]:
    """Samples as readings: one of the agent, one of each output.

    >>> readings([Sample("agent.cpu_s", 1.5), Sample("agent.stored", 2.0, "es")], "h1")[1].entity_id
    'h1/es'
    """
    found: dict[str | None, dict[str, float]] = {}
    for sample in samples:
        found.setdefault(sample.output, {})[sample.name] = sample.value
    return [Reading("agent", host if output is None else f"{host}/{output}", metrics) for output, metrics in found.items()]


def page(samples: Iterable[Sample]) -> bytes:
    r"""Samples in the text format of Prometheus.

    >>> page([Sample("agent.stored", 2.0, "es"), Sample("agent.stored", 3.0, "lake")]).decode()
    '# TYPE pinchpoint_agent_stored untyped\npinchpoint_agent_stored{output="es"} 2.0\npinchpoint_agent_stored{output="lake"} 3.0\n'
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines = []
    for name, some in by_name.items():
        known = METRICS.get(name)
        shown = "pinchpoint_" + _NOT_A_LETTER.sub("_", name)
        if known is not None:
            lines.append(f"# HELP {shown} {known.meaning} ({known.unit})")
        lines.append(f"# TYPE {shown} {'untyped' if known is None else known.kind}")
        lines += [f"{shown}{_label(sample.output)} {float(sample.value)!r}" for sample in some]
    return "".join(line + "\n" for line in lines).encode()


def of_counters(counters: Mapping[str, float], below: str = "", output: str | None = None) -> Iterator[Sample]:
    """Counters as samples of the agent."""
    for name, value in counters.items():
        yield Sample(f"{PREFIX}{below}{name}", value, output)


def _label(output: str | None) -> str:
    if output is None:
        return ""
    escaped = output.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{output="{escaped}"}}'
