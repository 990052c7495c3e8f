"""The templates that give pinchpoint's streams and indices their settings and mappings."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint import __version__, fields
from pinchpoint.store.es import existing, mappings, names
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.steps import Step, send

Body = dict[str, Any]

SETTINGS = "pinchpoint@settings"
_META = {"pinchpoint": {"version": __version__, "managed": True}}
#: Above Elasticsearch's own templates for logs-*-*, metrics-*-* and traces-*-*, which have 100.
_PRIORITY = 200
_DAY_S = 86400
_KINDS = {**names.STREAMS, **names.INDICES}
_FAILURE_STORE = {"failure_store": {"enabled": True}}

#: Of everything that we write. A copy where there is a node for it, so that a cluster of one is green too.
_COMMON = {
    "index.auto_expand_replicas": "0-1",
    # the thousandth name of a reading is kept and not indexed; otherwise its document would be refused
    "index.mapping.total_fields.ignore_dynamic_beyond_limit": True,
}
#: `logs-*` would be logsdb by default since 9.0. On 8.19.5 and 9.2.0 it gives back other documents than were written, by its
#: synthetic source: names nested, keys of maps sorted, 1 as 1.0; and it takes what is malformed without a word.
_STANDARD = {"index.mode": "standard"}
#: The source is stored for the same reason. Routing by every text among the dimensions: a document needs only one of them.
_TIME_SERIES = {
    "index.mode": "time_series",
    "index.mapping.source.mode": "stored",
    "index.routing_path": [name for name in mappings.DIMENSIONS
                           if name not in fields.FIELDS or fields.FIELDS[name].type == "text"],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can that not every server can."""

    time_series: bool
    """Whether metrics can go into time-series mode."""
    failure_store: bool
    """Whether documents that do not fit are kept beside their stream."""


def abilities(door: Door) -> Abilities:
    """Ask a server what it can, by simulating templates; nothing is written.

    A time-series stream needs the times between which its indices take documents. The data-streams module of a full server fills them
    in, in what it simulates too (TransportSimulateIndexTemplateAction asks the same providers as the making of an index). Where neither
    that module nor the user's `pinchpoint.metric@custom` gives them, metrics go into an ordinary stream.

    Raises: as `Door.call`; StoreRefused for a user who may not manage templates.
    """
    settings = _simulate(door, _time_series_probe()).get("template", {}).get("settings", {})
    time_series = settings.get("index", {}).get("time_series", {})
    failures = _simulate(door, _probe({"data_stream_options": _FAILURE_STORE}))
    return Abilities("start_time" in time_series and "end_time" in time_series, "template" in failures)


def component_templates(retention_days: Mapping[str, float], able: Abilities) -> dict[str, Body]:
    """Component templates by name: the settings of all, and for each stream and index its mapping with what is particular to it.

    Args:
        retention_days: days by kind of record; it counts for streams, plain indices are kept.
        able: what the server can.
    """
    found: dict[str, Body] = {SETTINGS: {"settings": _COMMON}}
    for kind, name in _KINDS.items():
        found[mappings_of(name)] = {"mappings": mappings.of_kind(kind)}
        if kind in fields.SHIPPED:
            found[mappings_of(name)] |= {"settings": _STANDARD, "lifecycle": {"data_retention": retention(retention_days[kind])},
                                         **({"data_stream_options": _FAILURE_STORE} if able.failure_store else {})}
    found[mappings_of(names.LATE_METRICS)] = found[mappings_of(names.STREAMS["metric"])]
    if able.time_series:
        metric = mappings_of(names.STREAMS["metric"])
        found[metric] = {**found[metric], "settings": _TIME_SERIES}
        if able.failure_store:
            # what this mode does not take must come back to the writer, who has another stream for it
            found[metric]["data_stream_options"] = {"failure_store": {"enabled": False}}
    found |= {mappings_of(name): {"mappings": mappings.of_kept(name)} for name in (names.LABELS, names.WATERMARKS, names.SEGMENTS)}
    return {name: {"template": template, "_meta": _META} for name, template in found.items()}


def index_templates() -> dict[str, Body]:
    """Index templates by name, each composed of our components and of `pinchpoint.<kind>@custom`, which is the user's own."""
    plain = {names.template(name): _index_template(name) for name in names.ALL_INDICES}
    return {names.template(name): {**_index_template(name), "data_stream": {}} for name in names.ALL_STREAMS} | plain


def mappings_of(name: str) -> str:
    """The component template with the mapping of a stream or index, which is named without its namespace."""
    return f"{names.template(name)}@mappings"


def custom_of(name: str) -> str:
    """The component template that is the user's own; we never write it."""
    return f"{names.template(name)}@custom"


def retention(days: float) -> str:
    """A number of days as Elasticsearch spells spans: without fractions, at least a second.

    >>> retention(30.0), retention(0.5), retention(1e-9)
    ('30d', '12h', '1s')
    """
    seconds = max(round(days * _DAY_S), 1)
    for unit, length_s in (("d", _DAY_S), ("h", 3600), ("m", 60)):
        if seconds % length_s == 0:
            return f"{seconds // length_s}{unit}"
    return f"{seconds}s"


def install(door: Door, namespace: str, retention_days: Mapping[str, float]) -> list[Step]:
    """Bring templates, streams and indices of a namespace to what this version wants; what is as it should be stays untouched.

    Args:
        door: to the server; its user may manage templates and make indices.
        namespace: whose streams and indices are meant; templates are for all.
        retention_days: days by kind of record, `config.retention.days`.

    Returns: what was changed, and what a person has to do.
    Raises: as `Door.call`.
    """
    steps = plan(door, namespace, retention_days)
    for step in steps:
        send(door, step)
    return steps


def drift(door: Door, namespace: str, retention_days: Mapping[str, float]) -> list[str]:
    """What is not as this version wants it, a line each; nothing is written. Raises: as `Door.call`."""
    return [str(step) for step in plan(door, namespace, retention_days)]


def plan(door: Door, namespace: str, retention_days: Mapping[str, float]) -> list[Step]:
    """What `install` would do, in its order; nothing is written. Raises: as `Door.call`."""
    names.check_namespace(namespace)
    components = component_templates(retention_days, abilities(door))
    installed = _installed(door, "component_template")
    every = (*names.ALL_STREAMS, *names.ALL_INDICES)
    wanted = {name: components[mappings_of(name)]["template"] for name in every}
    custom = {name: installed[custom_of(name)]["template"] for name in every if custom_of(name) in installed}
    return [*_differing("component template", components, installed),
            *_differing("index template", index_templates(), _installed(door, "index_template")),
            *existing.steps_of(door, namespace, wanted, custom)]


def _index_template(name: str) -> Body:
    return {"index_patterns": [f"{name}-*"], "priority": _PRIORITY, "composed_of": [SETTINGS, mappings_of(name), custom_of(name)],
            "ignore_missing_component_templates": [custom_of(name)], "_meta": _META}


def _time_series_probe() -> Body:
    custom = custom_of(names.STREAMS["metric"])
    template = {"settings": {**_COMMON, **_TIME_SERIES}, "mappings": mappings.of_kind("metric")}
    return {**_probe(template), "composed_of": [custom], "ignore_missing_component_templates": [custom]}


def _probe(template: Body) -> Body:
    # of names that no template of ours has: two with one priority may not match the same name
    return {"index_patterns": ["metrics-pinchpoint_probe-*"], "priority": _PRIORITY, "data_stream": {}, "template": template}


def _simulate(door: Door, body: Body) -> Body:
    # 400: the server does not know what the template asks for
    return door.call("POST", "/_index_template/_simulate", body, expect=(400,))


def _installed(door: Door, what: str) -> dict[str, Body]:
    answer = door.call("GET", f"/_{what}/pinchpoint*", expect=(404,), flat_settings="true")
    return {one["name"]: one[what] for one in answer.get(f"{what}s", ())}


def _differing(what: str, wanted: Mapping[str, Body], installed: Mapping[str, Body]) -> Iterator[Step]:
    for name, body in wanted.items():
        change = "create" if name not in installed else "update"
        if change == "create" or _comparable(body) != _comparable({part: installed[name].get(part) for part in body}):
            yield Step(what, name, change, "PUT", f"/_{what.replace(' ', '_')}/{name}", body)


def _comparable(body: Mapping[str, Any]) -> Any:
    """A template without the ways in which servers spell the same."""
    body = dict(body)
    if body.get("data_stream") is not None:
        body["data_stream"] = {}
    template = dict(body.get("template") or {})
    if "settings" in template:
        template["settings"] = {name: _spelled(value) for name, value in template["settings"].items()}
    if "lifecycle" in template:
        template["lifecycle"] = {"enabled": True, **template["lifecycle"]}
    body["template"] = template
    return body


def _spelled(value: Any) -> Any:
    return [str(each) for each in value] if isinstance(value, list) else str(value).lower()
