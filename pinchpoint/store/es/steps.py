"""One thing on a server that is not as it should be, and how it is mended."""

import dataclasses
from typing import Any

from pinchpoint.store.es.door import Door, ServerError


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What is to be done to one template, stream, index or key."""

    what: str
    """component template, index template, index, stream or key."""
    name: str
    change: str
    """What is done to it, or has to be."""
    method: str | None = None
    """None where a person has to decide."""
    path: str = ""
    body: Any = None

    def __str__(self) -> str:
        """For people, in a line."""
        return f"{self.what} {self.name}: {self.change}"


def send(door: Door, step: Step) -> dict[str, Any]:
    """Carry out one step; returns the answer. Raises: as `Door.call`."""
    if step.method is None:
        return {}
    try:
        return door.call(step.method, step.path, step.body)
    except ServerError as error:
        # another setup made it, at the same time
        if error.kind == "resource_already_exists_exception":
            return {}
        raise
