"""What keeps the server from taking documents: read-only indices, full disks, lost shards."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint.doctor.check import Check, some
from pinchpoint.doctor.server import TIMEOUT_S, Reached
from pinchpoint.errors import StoreRefused
from pinchpoint.human import share, size
from pinchpoint.store.es import existing, names

_UNITS = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}
_BLOCKS = ("read_only", "read_only_allow_delete", "write")
_DISK = "cluster.routing.allocation.disk."


def blocks(reached: Reached) -> Iterator[Check]:
    """Indices that are written to and take nothing."""
    every = ",".join(f"{name}-{reached.namespace}" for name in (*names.ALL_STREAMS, *names.ALL_INDICES))
    found = reached.door.call("GET", f"/{every}/_settings", flat_settings="true", ignore_unavailable="true", timeout_s=TIMEOUT_S)
    # older indices of a stream may well be read-only, only the newest is written to
    written = {name: index for name, index in found.items() if not name.startswith(".ds-")} | existing.newest_of_streams(found)
    blocked = {name: kinds for name, index in sorted(written.items()) if (kinds := _blocks_of(index))}
    if not blocked:
        yield Check("blocks", "ok", "no index is read-only.")
        return
    flooded = [name for name, kinds in blocked.items() if kinds == ["read_only_allow_delete"]]
    if flooded:
        yield Check("blocks", "fault", f"{len(flooded)} indices take nothing: the disk of a node was too full.", some(flooded),
                    "free space; where the block stays: PUT <index>/_settings {\"index.blocks.read_only_allow_delete\": null}")
    byhand = [f"{name}: index.blocks.{', '.join(kinds)}" for name, kinds in blocked.items() if name not in flooded]
    if byhand:
        yield Check("blocks", "fault", f"{len(byhand)} indices are read-only: somebody set a block.", some(byhand),
                    "take it off: PUT <index>/_settings {\"index.blocks.write\": null, \"index.blocks.read_only\": null}")


def _blocks_of(index: Mapping[str, Any]) -> list[str]:
    return [kind for kind in _BLOCKS if index["settings"].get(f"index.blocks.{kind}") == "true"]


def cluster(reached: Reached) -> Iterator[Check]:
    """Health of our indices, and room on the nodes."""
    every = ",".join(f"{name}-{reached.namespace}" for name in (*names.ALL_STREAMS, *names.ALL_INDICES))
    try:
        health = reached.door.call("GET", f"/_cluster/health/{every}", timeout_s=TIMEOUT_S, expect=(404, 408), timeout="0s",
                                   level="indices", expand_wildcards="all", ignore_unavailable="true")
        red = sorted(name for name, one in health.get("indices", {}).items() if one.get("status") == "red")
        if red:
            yield Check("cluster", "fault", f"{len(red)} indices have lost shards: they cannot be read or written whole.", some(red),
                        "see GET _cluster/allocation/explain; bring the node back, or: pinchpoint restore")
        yield from _disks(reached)
    except StoreRefused:
        yield Check("cluster", "unknown", f"{reached.user or 'this user'} may not look at the cluster.",
                    next_step="ask as a user with the privilege monitor")


def _disks(reached: Reached) -> Iterator[Check]:
    found = reached.door.call("GET", "/_nodes/stats/fs", filter_path="nodes.*.name,nodes.*.fs.total", timeout_s=TIMEOUT_S)
    given = reached.door.call("GET", "/_cluster/settings", include_defaults="true", flat_settings="true", timeout_s=TIMEOUT_S)
    settings = {name: value for part in ("defaults", "persistent", "transient") for name, value in given.get(part, {}).items()}
    lowest, tight = 1.0, False
    for node in found.get("nodes", {}).values():
        total, free = (int(node.get("fs", {}).get("total", {}).get(f"{part}_in_bytes", 0)) for part in ("total", "available"))
        if total <= 0:
            continue
        lowest = min(lowest, free / total)
        if str(settings.get(f"{_DISK}threshold_enabled")).lower() == "false":
            continue
        said = f"node {node.get('name')} has {size(free)} of {size(total)} free"
        if free < needed(settings, "flood_stage", total):
            tight = True
            yield Check("disks", "fault", f"{said}: below the flood stage, its indices become read-only.",
                        next_step="delete what is not needed, or give the node a larger disk")
        elif free < needed(settings, "high", total):
            tight = True
            yield Check("disks", "warning", f"{said}: above the high watermark, shards move away from it.",
                        next_step="delete what is not needed, or give the node a larger disk")
    if not tight:
        yield Check("disks", "ok", f"every node has at least {share(lowest)} free.")


def needed(settings: Mapping[str, Any], watermark: str, total: int) -> float:
    """How many bytes must be free on a disk of a size, by a watermark such as `95%`, `0.95` or `10gb`; 0 where it cannot be told.

    >>> needed({"cluster.routing.allocation.disk.watermark.high": "90%"}, "high", 1000)
    100.0
    """
    mark = str(settings.get(f"{_DISK}watermark.{watermark}", ""))
    ratio = _ratio(mark)
    if ratio is None:
        return _bytes(mark) or 0.0
    room = round(total * (1 - ratio), 3)
    headroom = _bytes(str(settings.get(f"{_DISK}watermark.{watermark}.max_headroom", "")))
    return room if headroom is None else min(room, headroom)


def _ratio(text: str) -> float | None:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _bytes(text: str) -> float | None:
    number = text.rstrip("bBkKmMgGtTpP")
    try:
        return float(number) * _UNITS[text[len(number):].lower()]
    except (ValueError, KeyError):  # -1: none
        return None
