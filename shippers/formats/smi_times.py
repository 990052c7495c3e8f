"""Times as nvidia-smi prints them, without a zone: taken as UTC."""

import datetime
import functools

from pinchpoint.clock import NS

_SHAPES = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%Y%m%d %H:%M:%S", "%Y%m%d %H:%M:%S.%f")


@functools.lru_cache(4096)
def smi_time_ns(text: str) -> int | None:
    """UTC ns of a printed time; None when it is none.

    >>> smi_time_ns("2026/01/01 00:00:00.500"), smi_time_ns("Thu Jan  1 00:00:00 2026"), smi_time_ns("soon")
    (1767225600500000000, 1767225600000000000, None)
    """
    for shape in _SHAPES:
        try:
            moment = datetime.datetime.strptime(text.strip(), shape).replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
        time_ns = int(moment.timestamp()) * NS + moment.microsecond * 1000
        return time_ns if -(1 << 62) < time_ns < 1 << 62 else None
    return None
