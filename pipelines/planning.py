"""What of a store an analysis reads: which slices of which kinds."""

import dataclasses

from pinchpoint.store import Split, Store
from pipelines.runs import aligned

#: Slices end at multiples of this, which every window divides.
ALIGN_S = 300.0
#: Records of a slice: some dozen MB a worker.
SLICE_RECORDS = 250_000
REDUCED = ("step", "metric", "log")
#: Before any record.
BEGINNING = -(1 << 62)


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """What part of the store is analysed."""

    start: int | None = None
    """UTC ns, inclusive; None from the beginning."""
    end: int | None = None
    run_id: str | None = None


def plan(store: Store, span: Span) -> dict[str, list[Split]]:
    """The slices to read, by kind: new records of the span, and features and events of the time before it."""
    start = None if span.start is None else aligned(span.start, ALIGN_S)
    found = {kind: store.splits(kind, start, span.end, align_s=ALIGN_S, records=SLICE_RECORDS) for kind in REDUCED}
    found["event"] = store.splits("event", None, span.end, align_s=ALIGN_S, records=SLICE_RECORDS)
    found["feature"] = [] if start is None else store.splits("feature", None, start, align_s=ALIGN_S, records=SLICE_RECORDS)
    return found


def reaches_to(splits: dict[str, list[Split]]) -> int | None:
    """Up to where the slices reach (UTC ns); None when there are none."""
    return max((split.end for kind in REDUCED for split in splits[kind]), default=None)


def new_from(splits: dict[str, list[Split]]) -> int:
    """From when on the slices hold what was not analysed before (UTC ns)."""
    return min((split.start for kind in REDUCED for split in splits[kind]), default=BEGINNING)
