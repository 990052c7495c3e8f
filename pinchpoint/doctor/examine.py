"""Carry out checks side by side, each with a deadline, whatever becomes of the others."""

import functools
import importlib.metadata
import threading
from collections.abc import Callable, Iterable, Mapping

from pinchpoint.doctor.check import STATES, Check, Subject
from pinchpoint.errors import PinchpointError, StoreRefused, UsageError

#: Longest time that one check may take; a server that is well answers each in milliseconds.
DEADLINE_S = 15.0
GROUP = "pinchpoint.doctor"

Look = Callable[[], Iterable[Check]]


def examine(looks: Mapping[str, Look], deadline_s: float = DEADLINE_S) -> list[Check]:
    """What all checks find; one that fails or takes too long says so in the place of its answer.

    The threads of checks that hang are left behind: they end with the process.
    """
    answers: dict[str, list[Check]] = {}

    def look(name: str) -> None:
        answers[name] = _careful(name, looks[name])

    threads = {name: threading.Thread(target=look, args=(name,), daemon=True, name=f"doctor-{name}") for name in looks}
    for thread in threads.values():
        thread.start()
    found: list[Check] = []
    for name, thread in threads.items():
        thread.join(deadline_s)  # they run side by side: those joined later have had longer
        late = Check(name, "unknown", f"no answer within {deadline_s:g} s.", next_step="look at the load of the store, then ask again")
        found += answers.get(name, [late])
    return found


def worst_first(checks: Iterable[Check]) -> list[Check]:
    """Faults, then warnings, then what could not be seen, then what is as it should be."""
    return sorted(checks, key=lambda check: STATES.index(check.state))


def of_others(subject: Subject) -> dict[str, Look]:
    """Checks that other parts and installed packages bring, by the names of their entry points."""
    return {entry.name: functools.partial(_load, entry, subject) for entry in importlib.metadata.entry_points(group=GROUP)}


def _load(entry: importlib.metadata.EntryPoint, subject: Subject) -> Iterable[Check]:
    found: Iterable[Check] = entry.load()(subject)
    return found


def _careful(name: str, look: Look) -> list[Check]:
    try:
        return list(look())
    except StoreRefused as error:
        return [Check(name, "unknown", f"not for us to see: {error}.")]
    except UsageError as error:
        return [Check(name, "fault", f"{error}.")]
    except PinchpointError as error:
        return [Check(name, "unknown", f"{error}.", next_step="mend the faults above first, then ask again")]
    except ModuleNotFoundError as error:
        return [Check(name, "unknown", f"this takes the package {error.name}, which is not installed.",
                      next_step="pip install 'pinchpoint[ship,analyze]'")]
    except Exception as error:  # a doctor that dies tells nothing about the rest
        return [Check(name, "unknown", f"the check failed: {type(error).__name__}: {error}.",
                      next_step="this is a defect of pinchpoint: report it with the output of --format json")]
