"""Facts of the simulation of a pipeline-parallel job (tables of its operations)."""

from models import told
from models.facts.registry import Scope, fact

TABLE = "a table of the operations of a pipeline-parallel job"


def _of_simulation(name: str, key: str, meaning: str) -> None:
    def measure(scope: Scope) -> float | None:
        return told.numbers(scope.view).get(key)

    measure.__doc__ = meaning
    fact(name, "ratio", TABLE)(measure)


_of_simulation("pipeline.slowdown_ratio", "slowdown", "Step time over what it would be without stragglers")
_of_simulation("pipeline.worst_workers_ratio", "M_W", "Share of the lost time that goes away when the slowest workers are mended")
_of_simulation("pipeline.last_stage_ratio", "M_S", "Share of the lost time that goes away when the last stage is mended")
