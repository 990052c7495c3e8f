"""Where the steps of a trace begin and end, on the host and on the device."""

import numpy as np

from shippers.formats.intervals import Intervals
from shippers.formats.trace_timeline import Device, Step


def windows(steps: list[Step], device: Device) -> tuple[list[int], Intervals]:
    """Numbers and limits of the steps, in order of time, without overlaps.

    A step lasts until the last kernel it launched is through, and the next one begins there, as in the TensorBoard plugin
    (torch_tb_profiler 0.4.3). A step that this leaves without any time of its own is left out.

    Args:
        steps: as annotated on the host, at least one, in any order.
        device: everything that ran on the device.

    >>> device = Device(np.array([5.0, 12.0]), np.array([14.0, 15.0]), np.array([2.0, 11.0]), np.array([True, True]),
    ...                 np.array([False, False]))
    >>> windows([(7, 0.0, 10.0), (8, 10.0, 20.0)], device)
    ([7, 8], (array([ 0., 14.]), array([14., 20.])))
    """
    ordered = sorted(steps, key=lambda step: step[1])
    start = np.array([step[1] for step in ordered])
    end = np.array([step[2] for step in ordered])
    end[:-1] = np.minimum(end[:-1], start[1:])
    place = np.searchsorted(start, device.launch, side="right") - 1
    # NaN sorts behind every number, and is before no end
    inside = (place >= 0) & (device.launch <= end[place])
    np.maximum.at(end, place[inside], device.end[inside])
    if inside.any():
        # what ran before the first kernel of these steps was launched before them, mostly before the recording began
        earlier = device.end[~inside & (device.end < device.start[inside].min())]
        start[0] = max(start[0], earlier.max(initial=-np.inf))
    end = np.maximum.accumulate(end)
    start[1:] = np.maximum(start[1:], end[:-1])
    kept = end > start
    return [step[0] for step, keep in zip(ordered, kept, strict=True) if keep], (start[kept], end[kept])


def of_whole_steps(steps: list[Step], device: Device) -> Device:
    """What of the device was launched before the last of several steps began, as HolisticTraceAnalysis 0.5.0 counts.

    The profiler often stops before the kernels of the last step are through. Where the trace does not know what launched a
    tenth of what ran, leaving that out would look like idle time: then all of it counts.
    """
    known = ~np.isnan(device.launch)
    if len({number for number, _, _ in steps}) < 2 or not len(known) or known.mean() < 0.9:
        return device
    before = known & (device.launch < max(start for _, start, _ in steps))
    return device.where(before) if before.any() else device
