"""Traces of the PyTorch profiler (Kineto): the phases of each step, and the kernels and operators that took most time."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pinchpoint import records
from shippers.formats.base import MOST_ROWS, Batch, Format, Reading
from shippers.formats.intervals import Floats, Intervals, covered, exclusive
from shippers.formats.trace_about import About
from shippers.formats.trace_columns import Columns
from shippers.formats.trace_events import Event, read_events, recognises
from shippers.formats.trace_steps import of_whole_steps, windows
from shippers.formats.trace_timeline import Step, Timeline

#: Phases by what runs. Of what runs at the same time the first counts, in the order of the TensorBoard plugin
#: (torch_tb_profiler 0.4.3). That counts communication below copies; here it comes above, so that what hides it is
#: computation alone.
_ON_DEVICE = {"compute": ("compute",), "communication": ("communication",), "h2d": ("h2d",), "copies": ("memcpy", "memset"),
              "on_host": ("host_communication",), "runtime": ("runtime",), "data_wait": ("loader",)}
#: Without a device, operators are the computation. Those of the loader are its work.
_ON_HOST = {"data_wait": ("loader",), "compute": ("cpu_op",), "communication": ("host_communication", "collective_call")}
_TOP = 50
_RANK = re.compile(r"(?:rank|worker)[-_ ]?(\d{1,6})(?!\d)", re.IGNORECASE)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each ProfilerStep, or one for the whole trace, and a metric record of the trace.

    Raises: InputError when there is no event to be had.
    """
    about, columns = About(), Columns()
    for events in read_events(path, reading, about, Event):
        columns.add(events, reading)
    if not columns.first < columns.last:
        reading.notes.append("no event with a duration that belongs to a step")
        return
    timeline = columns.finish()
    if not len(timeline.kernels[0]):
        reading.notes.append("no kernels in it: operators on the CPU count as computation")
    steps = columns.steps or columns.iterations
    if not steps:
        reading.notes.append("no ProfilerStep in it: the whole trace counts as one step; call prof.step() in the loop")
        steps = [(0, columns.first, columns.last)]
    numbers, limits = windows(steps, timeline.device)
    if not numbers:
        numbers, limits = [0], (np.array([columns.first]), np.array([columns.last]))
    reading.summary = columns.top(_TOP)
    for family, seconds in columns.families().items():
        reading.families[family] = reading.families.get(family, 0.0) + seconds
    reading.settings.update(about.settings)
    about.rank = _rank(about.rank, columns.rank, path)
    reading.meetings.append(columns.collectives.meetings(about.rank or 0, numbers, limits, about.base_ns))
    yield from _steps(timeline, about, numbers, limits)
    metrics = {"trace.single_process_loader": float(columns.single_process_loader), **_metrics(timeline, limits, columns.steps)}
    carried = columns.collectives.bus_bytes_per_s()
    if carried is not None:
        metrics["trace.collective_bus_bytes_per_s"] = carried
    yield "metric", records.batch("metric", {
        "@timestamp": [round(float(limits[0][0]) * 1000) + about.base_ns],
        "event.id": [records.content_id("trace", about.rank, limits[0][0])], "run.id": ["trace"], "entity.kind": ["trace"],
        "entity.id": [str(about.rank or 0)], "rank": [about.rank], "metrics": [list(metrics.items())],
    })


def _rank(told: int | None, named: int | None, path: Path) -> int | None:
    """The rank as the trace tells it, else as its collectives do, else as the end of its file's name does."""
    if told is not None or named is not None:
        return named if told is None else told
    found = _RANK.search(path.name)
    return int(found[1]) if found is not None else None


def _steps(timeline: Timeline, about: About, numbers: list[int], limits: Intervals) -> Iterator[Batch]:
    roles = _ON_DEVICE if len(timeline.kernels[0]) else _ON_HOST
    spent = dict(zip(roles, exclusive((timeline.of(*each) for each in roles.values()), limits), strict=True))
    none = np.zeros(len(numbers))
    hidden = (covered(*timeline.of(*roles["communication"]), limits) - spent["communication"]).clip(0)
    identity = records.content_id(about.rank, *limits[0], *limits[1])
    values: dict[str, Floats] = {
        "duration_s": limits[1] - limits[0], "phase.data_wait_s": spent["data_wait"], "phase.h2d_s": spent.get("h2d", none),
        "phase.compute_s": spent["compute"], "phase.communication_s": spent["communication"] + spent.get("on_host", none),
        "overlap_s": hidden,
    }
    start_ns = np.round(limits[0] * 1000).astype(np.int64) + about.base_ns
    for begin in range(0, len(numbers), MOST_ROWS):
        part = slice(begin, begin + MOST_ROWS)
        size = len(numbers[part])
        yield "step", records.batch("step", {
            "@timestamp": start_ns[part],
            "event.id": [f"{identity}-{number}-{place}" for place, number in enumerate(numbers[part], begin)],
            "run.id": ["trace"] * size, "rank": [about.rank or 0] * size, "world_size": [about.world_size] * size,
            "step": numbers[part],
            **{name: value[part] / 1e6 for name, value in values.items()},
        })


def _metrics(timeline: Timeline, limits: Intervals, steps: list[Step]) -> dict[str, float]:
    """Numbers of the whole trace; those of the device are shares of the time from the first thing that runs there to the last.

    Where HolisticTraceAnalysis 0.5.0 and TraceLens differ, what runs decides: idle is when nothing does. Synchronisation events and
    operators that carry a stream are no work of the device, though HolisticTraceAnalysis counts them; times are not rounded to
    microseconds, as it does. Recomputed activations are computation, though a table of TraceLens keeps them apart. Of traces with several
    ProfilerSteps the last is left out, as HolisticTraceAnalysis does (`of_whole_steps`). Copies in any direction that nothing hides are
    `exposed`, as in TraceLens.
    """
    start, end = timeline.kernels
    metrics = {"trace.kernels": float(len(start))}
    if len(start):
        metrics["trace.kernel_mean_s"] = float((end - start).mean()) / 1e6
    device = of_whole_steps(steps, timeline.device)
    if len(device.start) and device.start.min() < device.end.max():
        whole = np.array([device.start.min()]), np.array([device.end.max()])
        total = float(whole[1][0] - whole[0][0])
        any_us = float(covered(device.start, device.end, whole)[0])
        compute_us = float(covered(device.start[device.computes], device.end[device.computes], whole)[0])
        metrics |= {"trace.gpu_idle_ratio": 1 - any_us / total, "trace.gpu_compute_ratio": compute_us / total,
                    "trace.gpu_non_compute_ratio": (any_us - compute_us) / total}
        copies_us = any_us - float(covered(device.start[~device.copies], device.end[~device.copies], whole)[0])
        metrics["trace.memcpy_exposed_ratio"] = copies_us / total
        busy, loading = (float(spent.sum()) for spent in exclusive(
            ((timeline.device.start, timeline.device.end), timeline.of("loader")), limits))
        idle = float((limits[1] - limits[0]).sum()) - busy
        if idle > 0:
            metrics["trace.loader_of_idle_ratio"] = loading / idle
    return metrics


FORMAT = Format("torch_profiler", recognises, read)
