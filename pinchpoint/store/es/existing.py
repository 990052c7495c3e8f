"""What has to be done to streams and indices that were made by templates of another version."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pinchpoint.store.es import names
from pinchpoint.store.es.door import Door
from pinchpoint.store.es.steps import Step

Body = dict[str, Any]

#: What may change in the mapping of a field that has documents already.
_CHANGEABLE = ("ignore_above", "meta")
_BACKING = re.compile(r"\.ds-(?P<stream>.+)-\d{4}\.\d\d\.\d\d-(?P<generation>\d+)")
_NO_SUCH_ENDPOINT = (400, 404, 405)


def steps_of(door: Door, namespace: str, wanted: Mapping[str, Body], custom: Mapping[str, Body]) -> Iterator[Step]:
    """Steps for streams and indices whose newest index does not hold what their templates say, and for plain indices that are not there.

    Args:
        door: to the server.
        namespace: whose streams and indices are meant.
        wanted: what the component templates with mappings say, by the name of the stream or index without its namespace.
        custom: the same of the component templates that are the user's own.
    """
    streams, plain = ({name: f"{name}-{namespace}" for name in found} for found in (names.ALL_STREAMS, names.ALL_INDICES))
    found = door.call("GET", "/" + ",".join([*streams.values(), *plain.values()]), ignore_unavailable="true", flat_settings="true")
    newest = newest_of_streams(found)

    def difference(name: str, index: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        return _difference(wanted[name]["mappings"], index["mappings"], custom.get(name, {}).get("mappings", {}))

    for name, stream in streams.items():
        template = wanted[name]
        if stream in found:
            yield Step("stream", stream, "is a plain index, written before there was a template: reindex what you need of it, "
                                         "then delete it")
        elif stream in newest:
            added, changed = difference(name, newest[stream])
            yield from _added("stream", stream, added)
            if changed:
                yield Step("stream", stream, f"needs a rollover, {_listed(changed)} changed its type: POST /{stream}/_rollover")
            # a mode can also come from the user's @custom, which we do not overrule
            elif template["settings"]["index.mode"] == "time_series" != newest[stream]["settings"].get("index.mode"):
                yield Step("stream", stream, f"needs a rollover into time-series mode: POST /{stream}/_rollover")
            # so can how long it keeps what
            yield from _options(door, stream, {part: of for part, of in template.items() if part not in custom.get(name, {})})
    for name, index in plain.items():
        if index not in found:
            yield Step("index", index, "create", "PUT", f"/{index}")
            continue
        added, changed = difference(name, found[index])
        yield from _added("index", index, added)
        if changed:
            yield Step("index", index, f"needs a reindex, {_listed(changed)} changed its type")


def newest_of_streams(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of indices by name the newest backing index of each stream, by the name of the stream."""
    newest: dict[str, tuple[int, Any]] = {}
    for name, index in found.items():
        backing = _BACKING.fullmatch(name)
        if backing is None:
            continue
        stream, generation = backing["stream"], int(backing["generation"])
        if stream not in newest or newest[stream][0] < generation:
            newest[stream] = (generation, index)
    return {stream: index for stream, (_, index) in newest.items()}


def _added(what: str, name: str, added: Mapping[str, Any]) -> Iterator[Step]:
    if added:
        yield Step(what, name, f"add {_listed(_names(added))}", "PUT", f"/{name}/_mapping", {"properties": added})


def _names(added: Mapping[str, Any]) -> list[str]:
    return [f"{name}.{below}" if below else name for name, mapping in added.items() for below in mapping.get("properties") or [""]]


def _options(door: Door, stream: str, template: Body) -> Iterator[Step]:
    """Retention and failure store of a stream; templates give them to new streams only. Servers without the endpoints have none of it."""
    answer = door.call("GET", f"/_data_stream/{stream}", expect=_NO_SUCH_ENDPOINT)
    for one in answer.get("data_streams", ()):
        wanted = template.get("lifecycle")
        if wanted and one.get("lifecycle", {}).get("data_retention") != wanted["data_retention"]:
            yield Step("stream", stream, f"keep for {wanted['data_retention']}", "PUT", f"/_data_stream/{stream}/_lifecycle", wanted)
        options = template.get("data_stream_options")
        if options and one.get("failure_store", {}).get("enabled", False) != options["failure_store"]["enabled"]:
            change = "keep failures" if options["failure_store"]["enabled"] else "hand failures back"
            yield Step("stream", stream, change, "PUT", f"/_data_stream/{stream}/_options", options)


def _difference(wanted: Mapping[str, Any], installed: Mapping[str, Any],
                custom: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Fields that a mapping lacks or can still change, as `properties`, and the names of fields that differ for good.

    What the user's own component template maps is the user's.
    """
    theirs, users = dict(_nodes(installed)), dict(_nodes(custom))
    added: dict[str, Any] = {}
    changed: list[str] = []

    def can_be_put(path: tuple[str, ...], mapping: Mapping[str, Any]) -> bool:
        there = theirs.get(path)
        if path in users or there == mapping or _is_stand_in(there, mapping):
            return False
        if there is None or _fixed(there) == _fixed(mapping):
            return True
        changed.append(".".join(path))
        return False

    for name, mapping in wanted["properties"].items():
        path = tuple(name.split("."))
        if "properties" in mapping:
            # readings by name: their dots are part of the names
            below = {each: of for each, of in mapping["properties"].items() if can_be_put((*path, each), of)}
            if below or path not in theirs:
                added[name] = {**mapping, "properties": below}
        elif can_be_put(path, mapping):
            added[name] = mapping
    return added, changed


def _is_stand_in(there: Any, mapping: Mapping[str, Any]) -> bool:
    """Whether a server without the module of a type keeps the nearest it has."""
    return mapping == {"type": "match_only_text"} and there == {"type": "text"}


def _fixed(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in _CHANGEABLE}


def _nodes(mapping: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field and object of a mapping with its path; below an object without subobjects a name with dots is one name.

    >>> dict(_nodes({"properties": {"run": {"properties": {"id": {"type": "keyword"}}}}}))[("run", "id")]
    {'type': 'keyword'}
    """
    whole = mapping.get("subobjects") is False
    for name, below in mapping.get("properties", {}).items():
        path = (*above, name) if whole else (*above, *name.split("."))
        yield path, below
        yield from _nodes(below, path)


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
