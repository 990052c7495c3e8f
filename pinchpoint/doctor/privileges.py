"""What the user or key that we are may do with pinchpoint's data."""

from collections.abc import Iterator
from typing import Any

from pinchpoint.doctor.check import Check, some
from pinchpoint.doctor.server import TIMEOUT_S, Reached
from pinchpoint.store.es import names

#: What each part of pinchpoint does with streams, and with plain indices.
_NEEDS = {
    "ship": (["create_doc", "auto_configure"], []),
    "analyse": (["read", "view_index_metadata"], ["read", "view_index_metadata", "index", "delete"]),
    "read results": ([], ["read", "view_index_metadata"]),
}


def privileges(reached: Reached) -> Iterator[Check]:
    """What we may do as a whole, and what is lacking for the rest: a fault where it is good for nothing whole."""
    if reached.user is None:
        return
    lacking = {use: _lacking(reached, use) for use in _NEEDS}
    may = [use for use, missing in lacking.items() if not missing]
    details = tuple(f"to {use} it lacks {'; '.join(some(missing, 3))}" for use, missing in lacking.items() if missing)
    if may:
        yield Check("privileges", "ok", f"{reached.user} may {', '.join(may)}.", details)
        return
    yield Check("privileges", "fault", f"{reached.user} may neither ship nor analyse nor read results in namespace {reached.namespace}.",
                details, "make keys that may: pinchpoint setup elasticsearch")


def _lacking(reached: Reached, use: str) -> list[str]:
    """`privilege on index` for all that is missing, those of several indices together."""
    on_streams, on_plain = _NEEDS[use]
    asked: list[dict[str, Any]] = []
    for found, wanted in ((names.ALL_STREAMS, on_streams), (names.ALL_INDICES, on_plain)):
        if wanted:
            asked.append({"names": [f"{name}-{reached.namespace}" for name in found], "privileges": wanted})
    answer = reached.door.call("POST", "/_security/user/_has_privileges", {"index": asked}, timeout_s=TIMEOUT_S)
    missing: dict[str, list[str]] = {}
    for index, has in sorted(answer.get("index", {}).items()):
        lacks = ", ".join(sorted(name for name, may in has.items() if not may))
        if lacks:
            missing.setdefault(lacks, []).append(index)
    return [f"{lacks} on {indices[0]}" + (f" and {len(indices) - 1} more" if len(indices) > 1 else "")
            for lacks, indices in missing.items()]
