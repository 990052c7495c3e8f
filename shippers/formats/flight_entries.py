"""Reduce a dump of the flight recorder to what is needed across ranks: for each group how far it came and what is open."""

import dataclasses
import json
from typing import Any

from shippers.formats.base import Reading

#: Of what is open in a group the oldest tell where it stands.
MOST_OPEN = 16
_OPEN = ("scheduled", "started")
_MOST_RANKS = 1 << 20


@dataclasses.dataclass(slots=True)
class Dump:
    """What one rank says."""

    groups: list[dict[str, Any]]
    """For each process group: name, description, ranks as `0-3,8`, last enqueued and completed, and what is open, oldest first."""
    members: list[set[int]]
    """The ranks of each group."""
    last_ns: int
    """When the last collective was enqueued, UTC ns; 0 without any."""
    open_count: int

    def sentence(self, rank: int) -> str:
        return f"rank {rank} waits in {self.open_count} collectives" if self.open_count else f"rank {rank} waits in no collective"


def reduce_dump(document: dict[str, Any], reading: Reading) -> Dump:
    """The state of each group; entries that are none are counted and left out."""
    config = document.get("pg_config")
    config = {str(name): about for name, about in config.items() if isinstance(about, dict)} if isinstance(config, dict) else {}
    entries = [entry for entry in document.get("entries", []) if _is_entry(entry, reading)]
    names = {str(entry.get("pg_id")): str(entry["process_group"][0]) for entry in entries}
    status = _status(document.get("pg_status"), config, names)
    by_group: dict[str, list[dict[str, Any]]] = {name: [] for name in config}
    for entry in entries:
        by_group.setdefault(str(entry["process_group"][0]), []).append(entry)
    groups, members = [], []
    for name, mine in by_group.items():
        about = config.get(name, {})
        ranks = _ranks(about.get("ranks"))
        if ranks:
            members.append(set(ranks))
        description = about.get("desc") or next((str(entry["process_group"][1]) for entry in mine if len(entry["process_group"]) > 1), "")
        groups.append({"name": name, "description": str(description)[:200], "ranks": spans(ranks), **_progress(mine, status.get(name, {}))})
    times = [entry["time_created_ns"] for entry in entries if isinstance(entry.get("time_created_ns"), int)]
    last_ns = max((time for time in times if 0 < time < 1 << 62), default=0)
    return Dump(groups, members, last_ns, sum(len(group["open"]) for group in groups))


def _is_entry(entry: Any, reading: Reading) -> bool:
    good = isinstance(entry, dict) and isinstance(entry.get("process_group"), list | tuple) and bool(entry["process_group"]) \
        and isinstance(entry.get("collective_seq_id"), int) and isinstance(entry.get("state"), str)
    if not good:
        reading.reject(repr(entry)[:400].encode(), "no entry of a flight recorder")
    return good


def _progress(entries: list[dict[str, Any]], status: dict[str, Any]) -> dict[str, Any]:
    """How far a group came on this rank, by its status and else by the entries."""
    open_ones = [entry for entry in entries if entry["state"] in _OPEN and not entry.get("retired")]
    open_ones.sort(key=_order)
    collectives = [entry for entry in entries if not entry.get("is_p2p")]
    enqueued = _number(status.get("last_enqueued_collective"), max((entry["collective_seq_id"] for entry in collectives), default=None))
    done = _number(status.get("last_completed_collective"),
                   max((entry["collective_seq_id"] for entry in collectives if entry["state"] == "completed"), default=None))
    return {"enqueued": enqueued, "completed": done, "open": [_open(entry) for entry in open_ones[:MOST_OPEN]]}


def _open(entry: dict[str, Any]) -> dict[str, Any]:
    return {"seq": entry["collective_seq_id"], "op": str(entry.get("profiling_name", "")).removeprefix("nccl:")[:80],
            "p2p": bool(entry.get("is_p2p")), "state": entry["state"], "sizes": _short(entry.get("input_sizes")),
            "dtypes": _short(entry.get("input_dtypes")), "created_ns": _order(entry)[0]}


def _order(entry: dict[str, Any]) -> tuple[int, int]:
    created, record = entry.get("time_created_ns"), entry.get("record_id")
    return (created if isinstance(created, int) else 0, record if isinstance(record, int) else 0)


def _number(first: Any, other: int | None) -> int | None:
    return first if isinstance(first, int) and first >= 0 else other


def _short(value: Any) -> str:
    """Sizes or types as text, cut where no real one is that long."""
    if not isinstance(value, list | tuple):
        return ""
    parts = [one[:16] if isinstance(one, list | tuple) else one for one in value[:8]]
    return json.dumps(parts, default=str)[:200] if all(_is_flat(part) for part in parts) else ""


def _is_flat(part: Any) -> bool:
    return isinstance(part, str | int) or (isinstance(part, list | tuple) and all(isinstance(one, int | str) for one in part))


def _status(status: Any, config: dict[str, Any], names: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The status of each group by the group's name.

    The dump keys it by a number of the rank's own, and only entries tell which name a number has. Both count groups in the
    order in which they were made: where that fits what entries tell, it names the groups without entries too.
    """
    if not isinstance(status, dict):
        return {}
    found = {str(key): value for key, value in status.items() if isinstance(value, dict)}
    if len(found) == len(config) and all(key.isdecimal() for key in found) and all(name.isdecimal() for name in config):
        guess = dict(zip(sorted(found, key=int), sorted(config, key=int), strict=True))
        if all(guess.get(key, name) == name for key, name in names.items()):
            names = guess
    return {names[key]: value for key, value in found.items() if key in names}


def _ranks(value: Any) -> list[int]:
    """The ranks of a group, which the dump holds as a text or a list."""
    if isinstance(value, str) and len(value) < 16 * _MOST_RANKS:
        parts = value.strip("[] ").split(",")
        value = [int(part) for part in parts if part.strip().isdecimal() and len(part.strip()) < 9]
    if not isinstance(value, list | tuple):
        return []
    return sorted({one for one in value if type(one) is int and 0 <= one < 1 << 30})[:_MOST_RANKS]


def spans(ranks: list[int]) -> str:
    """Sorted ranks as spans.

    >>> spans([0, 1, 2, 8])
    '0-2,8'
    """
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and rank == parts[-1][1] + 1:
            parts[-1][1] = rank
        else:
            parts.append([rank, rank])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
