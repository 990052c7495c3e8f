"""What arrived last and how far the analysis came, whatever the store."""

import dataclasses
from collections.abc import Iterator, Mapping

from pinchpoint import fields
from pinchpoint.clock import NS
from pinchpoint.doctor.check import Check, ago, span

JOB = "analyze"
"""The watermark that `pinchpoint analyze` keeps."""

#: Clocks that are kept by NTP differ by milliseconds.
_AHEAD_NS = 60 * NS
_QUIET_NS = 3600 * NS


@dataclasses.dataclass(frozen=True, slots=True)
class Newest:
    """The newest record of a kind."""

    time_ns: int
    host: str | None
    """Where it comes from, as far as that can be told."""


def arrival(newest: Mapping[str, Newest], watermark_ns: int | None, now_ns: int) -> Iterator[Check]:
    """Checks of the newest record of each kind, by kind, and of the watermark of the analysis."""
    shipped = {kind: newest[kind] for kind in fields.SHIPPED if kind in newest}
    if not shipped:
        yield Check("arrival", "fault", "no record was ever shipped here.",
                    next_step="ship something: pinchpoint watch -- COMMAND; if that was done, compare its --store with this one")
    else:
        yield from _shipped(shipped, now_ns)
    yield _analysis(max((one.time_ns for one in shipped.values()), default=None), watermark_ns, now_ns)


def _shipped(shipped: Mapping[str, Newest], now_ns: int) -> Iterator[Check]:
    ahead = {kind: one for kind, one in shipped.items() if one.time_ns > now_ns + _AHEAD_NS}
    for kind, one in ahead.items():
        where = f"the clock of {one.host}" if one.host else "the clock of a host that ships"
        yield Check("clock", "fault", f"the newest {kind} is {span((one.time_ns - now_ns) / NS)} ahead of here: {where} is fast, or that "
                    "of this machine slow.", next_step="set both clocks by NTP: timedatectl")
    last_ns = max(min(one.time_ns, now_ns) for one in shipped.values())
    by_kind = ", ".join(f"{kind} {ago(one.time_ns, now_ns)}" for kind, one in shipped.items())
    lacking = [kind for kind in fields.SHIPPED if kind not in shipped]
    says = f"newest record: {by_kind}" + (f"; never a {', '.join(lacking)}." if lacking else ".")
    if now_ns - last_ns < _QUIET_NS or ahead:
        yield Check("arrival", "ok", says)
    else:
        yield Check("arrival", "warning", f"nothing newer than {ago(last_ns, now_ns)}; {says}",
                    next_step="see that something runs and ships to this store; a host whose clock is slow looks the same: timedatectl")


def _analysis(newest_ns: int | None, watermark_ns: int | None, now_ns: int) -> Check:
    if watermark_ns is None:
        if newest_ns is None:
            return Check("analysis", "ok", "not run yet; there is nothing to analyse.")
        return Check("analysis", "warning", "records were shipped and never analysed.", next_step="pinchpoint analyze")
    behind_s = 0.0 if newest_ns is None else (min(newest_ns, now_ns) - watermark_ns) / NS
    if behind_s > _QUIET_NS / NS:
        return Check("analysis", "warning", f"it came to {ago(watermark_ns, now_ns)} and is {span(behind_s)} behind the newest record.",
                     next_step="pinchpoint analyze, or look why --every stopped")
    return Check("analysis", "ok", f"it came to {ago(watermark_ns, now_ns)}"
                 + (f", {span(behind_s)} behind the newest record." if behind_s >= 1 else ", the newest record."))
