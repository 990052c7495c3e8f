"""Facts of a run that stands still: which ranks hold it up, by the open collectives of all ranks."""

from models import hang
from models.facts.registry import Scope, fact

NEEDS = "dumps of the NCCL flight recorder of all ranks (TORCH_NCCL_TRACE_BUFFER_SIZE, TORCH_NCCL_DUMP_ON_TIMEOUT)"

#: The ranks that each fact counts.
RANKS = {
    "hang.absent_ranks": lambda found: found.absent,
    "hang.unlike_ranks": lambda found: found.unlike,
    "hang.silent_ranks": lambda found: found.silent,
    "hang.stuck_ranks": lambda found: found.stuck,
}


def ranks_counted(name: str, scope: Scope) -> tuple[int, ...]:
    """The ranks that a fact counts."""
    found = hang.find(scope.view.events)
    return () if found is None else RANKS[name](found)


def _ranks(name: str, meaning: str) -> None:
    def measure(scope: Scope) -> float | None:
        found = hang.find(scope.view.events)
        return None if found is None else float(len(RANKS[name](found)))

    measure.__doc__ = meaning
    fact(name, "ranks", NEEDS)(measure)


_ranks("hang.absent_ranks", "Ranks that others wait for in a collective and that wait for nobody")
_ranks("hang.unlike_ranks", "Ranks that entered another collective than the rest of their group")
_ranks("hang.silent_ranks", "Ranks without a dump of a group that waits")
_ranks("hang.stuck_ranks", "Ranks whose device did not end a collective that the others ended")


@fact("hang.waiting_ranks", "ranks", NEEDS)
def waiting_ranks(scope: Scope) -> float | None:
    """Ranks that wait in a collective."""
    found = hang.find(scope.view.events)
    return None if found is None else float(len(found.waiting))


@fact("hang.all_entered", "flag", NEEDS)
def all_entered(scope: Scope) -> float | None:
    """All ranks entered the collectives that are open, and none ended."""
    found = hang.find(scope.view.events)
    return None if found is None else float(bool(found.waiting) and not found.suspects)
