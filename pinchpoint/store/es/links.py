"""Where Kibana shows what belongs to an incident: paths below its /app, as documents carry them."""

from typing import Any

from pinchpoint.clock import NS, format_time, parse_time

#: Data views of kinds in Kibana, `kibana/views.py` makes them.
VIEWS = {"log": "pinchpoint-logs", "event": "pinchpoint-events"}

#: What came shortly before an incident may be its reason.
_BEFORE_NS, _AFTER_NS = 600 * NS, 120 * NS


def logs(incident: dict[str, Any]) -> str:
    """The log lines of the hosts of an incident, from ten minutes before its onset."""
    return _discover(VIEWS["log"], ("log.level", "host.name", "rank", "message"), incident, _of_hosts(incident))


def events(incident: dict[str, Any]) -> str:
    """The changes and errors around an incident; a change names no host, so those of all are shown."""
    return _discover(VIEWS["event"], ("event.action", "event.reason", "host.name", "run.id"), incident, "")


def _of_hosts(incident: dict[str, Any]) -> str:
    hosts = [_quoted(str(host)) for host in incident.get("hosts") or ()]
    return f"host.name: ({' or '.join(hosts)})" if hosts else ""


def _discover(view: str, columns: tuple[str, ...], incident: dict[str, Any], query: str) -> str:
    start = parse_time(incident["start"])
    end = parse_time(incident["end"]) if incident.get("end") else start
    shown = {"from": format_time(start - _BEFORE_NS), "to": format_time(end + _AFTER_NS)}
    state = {"index": view, "columns": list(columns), "query": {"language": "kuery", "query": query}}
    return f"discover#/?_g={rison({'time': shown})}&_a={rison(state)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def rison(value: Any) -> str:
    """A value as Kibana spells state in addresses; texts are always quoted, and what an address may not hold is percent-encoded.

    >>> rison({"time": {"from": "it's"}, "columns": ["a", "b c"]})
    "(time:(from:'it!'s'),columns:!('a','b%20c'))"
    """
    import urllib.parse

    if isinstance(value, dict):
        return "(" + ",".join(f"{name}:{rison(one)}" for name, one in value.items()) + ")"
    if isinstance(value, list):
        return "!(" + ",".join(rison(one) for one in value) + ")"
    return "'" + urllib.parse.quote(str(value).replace("!", "!!").replace("'", "!'"), safe="!'()*,:@$;") + "'"
