"""What the user or key that we are may do with pinchpoint's data."""

from collections.abc import Iterator

from pinchpoint.doctor.check import Check, some
from pinchpoint.doctor.server import TIMEOUT_S, Reached
from pinchpoint.store.es import keys


def privileges(reached: Reached) -> Iterator[Check]:
    """Which keys of `pinchpoint setup elasticsearch` we could stand in for: a fault where it is none."""
    if reached.user is None:
        return
    lacking = {role: _lacking(reached, role) for role in keys.ROLES}
    may = [keys.ROLES[role] for role, missing in lacking.items() if not missing]
    details = tuple(f"to {keys.ROLES[role]} it lacks {'; '.join(some(missing, 3))}" for role, missing in lacking.items() if missing)
    if may:
        yield Check("privileges", "ok", f"{reached.user} may {'; '.join(may)}.", details)
        return
    yield Check("privileges", "fault", f"{reached.user} may neither ship nor analyse nor read results in namespace {reached.namespace}.",
                details, "make keys that may: pinchpoint setup elasticsearch")


def _lacking(reached: Reached, role: str) -> list[str]:
    """`privilege on index` for all that a role needs and we may not, those of several indices together."""
    needs = keys.descriptor(role, reached.namespace)
    answer = reached.door.call("POST", "/_security/user/_has_privileges", {"cluster": needs["cluster"], "index": needs["indices"]},
                               timeout_s=TIMEOUT_S)
    missing: dict[str, list[str]] = {}
    for index, has in sorted(answer.get("index", {}).items()):
        lacks = ", ".join(sorted(name for name, may in has.items() if not may))
        if lacks:
            missing.setdefault(lacks, []).append(index)
    return [*(f"{name} on the cluster" for name, may in answer.get("cluster", {}).items() if not may),
            *(f"{lacks} on {indices[0]}" + (f" and {len(indices) - 1} more" if len(indices) > 1 else "")
              for lacks, indices in missing.items())]
