"""Whether templates, streams and indices are there and as this version wants them."""

from collections.abc import Iterator, Mapping, Sequence

import pinchpoint
from pinchpoint.doctor.check import Check, some
from pinchpoint.doctor.server import Reached
from pinchpoint.errors import StoreRefused
from pinchpoint.store.es import names, templates
from pinchpoint.store.es.steps import Step

_SETUP = "pinchpoint setup elasticsearch"


def layout(reached: Reached, retention_days: Mapping[str, float]) -> Iterator[Check]:
    """What `pinchpoint setup elasticsearch` would have to do."""
    try:
        steps = templates.plan(reached.door, reached.namespace, retention_days)
    except StoreRefused:
        yield Check("templates", "unknown", f"{reached.user or 'this user'} may not look at index templates.",
                    next_step="ask as a user who may manage them")
        return
    yield from _templates(reached, [step for step in steps if step.what.endswith("template")])
    yield from _places([step for step in steps if not step.what.endswith("template")])
    yield _time_series(reached)


def _templates(reached: Reached, steps: Sequence[Step]) -> Iterator[Check]:
    missing = [step.name for step in steps if step.change == "create"]
    changed = [step.name for step in steps if step.change != "create"]
    if missing:
        yield Check("templates", "fault", f"{len(missing)} of pinchpoint's templates are missing: nothing can be shipped to a stream "
                    "without its template.", some(missing), _SETUP)
    if changed:
        installed, ours = _installed_version(reached), pinchpoint.__version__
        if _number(installed) > _number(ours):
            yield Check("templates", "warning", f"the templates were installed by pinchpoint {installed}, this is {ours}.", some(changed),
                        f"install pinchpoint {installed} here too; setup would take the templates back")
        else:
            by = f" (installed by pinchpoint {installed}, this is {ours})" if installed not in ("", ours) else ""
            yield Check("templates", "warning", f"{len(changed)} templates are not as this version wants them{by}.", some(changed), _SETUP)
    if not steps:
        yield Check("templates", "ok", "all are there and as this version wants them.")


def _installed_version(reached: Reached) -> str:
    answer = reached.door.call("GET", f"/_component_template/{templates.SETTINGS}", expect=(404,))
    for one in answer.get("component_templates", ()):
        return str(one["component_template"].get("_meta", {}).get("pinchpoint", {}).get("version", ""))
    return ""


def _number(version: str) -> tuple[int, ...]:
    """A version to compare by: `1.10.0` comes after `1.9`."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _places(steps: Sequence[Step]) -> Iterator[Check]:
    missing = [step.name for step in steps if step.what == "index" and step.change == "create"]
    plain = [str(step) for step in steps if step.what == "stream" and step.method is None and "is a plain index" in step.change]
    drifted = [str(step) for step in steps if step.name not in missing and str(step) not in plain]
    if missing:
        yield Check("indices", "fault", f"{len(missing)} indices of results are missing: the analysis cannot write.", some(missing), _SETUP)
    if plain:
        yield Check("streams", "fault", "what should be a data stream is a plain index: nothing is shipped to it.", some(plain), _SETUP)
    if drifted:
        yield Check("streams and indices", "warning", f"{len(drifted)} do not hold what their templates say.", some(drifted), _SETUP)
    if not steps:
        yield Check("streams and indices", "ok", "as their templates say.")


def _time_series(reached: Reached) -> Check:
    if templates.abilities(reached.door).time_series:
        return Check("time-series mode", "ok", "on: metrics take less room.")
    custom = templates.custom_of(names.STREAMS["metric"])
    return Check("time-series mode", "ok", "off, metrics go into an ordinary stream: this server does not say between which times an index "
                 f"takes documents, and no {custom} does.")
