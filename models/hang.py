"""Who holds up a run that stands still: read the open collectives of all ranks together."""

import dataclasses
import functools
import json
import re
from collections.abc import Iterable
from typing import Any

from models.view import Event

ACTION = "collectives"
#: Collectives in which a rank may be through while another still waits, so that being behind means nothing.
_ONE_SIDED = ("broadcast", "reduce", "gather", "scatter", "send", "recv", "barrier")
#: Collectives that every rank must enter with the same sizes.
_SAME_SIZE = ("all_reduce", "allreduce", "broadcast", "all_gather", "_all_gather_base", "reduce_scatter", "_reduce_scatter_base")
_PEERS = re.compile(r"(?:send|recv) (\d{1,9})(->|<-)(\d{1,9})")
_MOST_RANKS = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Open:
    """A collective that a rank has enqueued and that has not ended."""

    seq: int
    op: str
    p2p: bool
    sizes: str
    dtypes: str
    created_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """How far one rank is in one group."""

    rank: int
    enqueued: int | None
    completed: int | None
    open: tuple[Open, ...]
    """Oldest first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """One process group, as the dumps of its ranks tell."""

    name: str
    description: str
    ranks: tuple[int, ...]
    members: dict[int, Member]


@dataclasses.dataclass(frozen=True, slots=True)
class Hang:
    """What holds the run up."""

    ranks: tuple[int, ...]
    """Ranks that left a dump."""
    waiting: tuple[int, ...]
    """Ranks that wait in a collective."""
    absent: tuple[int, ...]
    """Ranks that others wait for, and that wait for nobody: their program did not come to the collective."""
    stuck: tuple[int, ...]
    """Ranks whose device did not end a collective that the others of the group have ended."""
    unlike: tuple[int, ...]
    """Ranks that entered another collective, or the same with other sizes, than the rest of their group."""
    silent: tuple[int, ...]
    """Ranks of a group that waits which left no dump, when nobody else is to blame."""
    blocked_in: dict[int, str]
    """What each of those is missing in, as a sentence."""
    since_ns: int
    """When the oldest open collective was enqueued, UTC ns; 0 without any."""

    @property
    def suspects(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self.stuck, *self.absent, *self.unlike, *self.silent)))


def find(events: Iterable[Event]) -> Hang | None:
    """The state of a run by its flight-recorder dumps; None when there are none."""
    return _find(tuple((event.time_ns, event.details.get("flight_recorder", "")) for event in events if event.action == ACTION))


@functools.lru_cache(2)  # every fact asks
def _find(dumps: tuple[tuple[int, str], ...]) -> Hang | None:
    ranks, groups = _groups(dumps)
    if not ranks:
        return None
    waiting = sorted({member.rank for group in groups for member in group.members.values() if member.open})
    blocked: dict[int, str] = {}
    stuck = _stuck(groups, blocked)
    waits_for = _held_up(groups, stuck)
    away = _absent(groups, waits_for, blocked)
    _partners(groups, waits_for)
    absent = {rank for rank in away - stuck if not waits_for.get(rank, set()) - {rank}}
    unlike = _unlike(groups, blocked)
    if not absent and not stuck and not unlike:
        # all of those who are away wait for each other
        absent = {rank for rank in away if rank in _reached(rank, waits_for)}
    silent = set() if absent or stuck or unlike else _silent(groups, blocked)
    created = [one.created_ns for group in groups for member in group.members.values() for one in member.open if one.created_ns > 0]
    return Hang(tuple(sorted(ranks)), tuple(waiting), tuple(sorted(absent)), tuple(sorted(stuck)), tuple(sorted(unlike - absent - stuck)),
                tuple(sorted(silent)), blocked, min(created, default=0))


def _stuck(groups: list[Group], blocked: dict[int, str]) -> set[int]:
    """Ranks whose oldest open collective others of its group have ended."""
    oldest: dict[int, int] = {}
    for group in groups:
        for rank, member in group.members.items():
            if member.open:
                oldest[rank] = min(oldest.get(rank, member.open[0].created_ns), member.open[0].created_ns)
    found = set()
    for group in groups:
        done = {rank: member.completed for rank, member in group.members.items() if member.completed is not None}
        for rank, member in group.members.items():
            first = next((one for one in member.open if not one.p2p), None)
            ahead = max((value for other, value in done.items() if other != rank), default=-1)
            if first is None or first.seq > ahead or first.seq <= done.get(rank, -1) or first.created_ns > oldest[rank]:
                continue
            if first.op.lstrip("_").startswith(_ONE_SIDED) and not first.op.lstrip("_").startswith("reduce_scatter"):
                continue
            found.add(rank)
            blocked[rank] = f"{_called(group)}: {first.op} {first.seq} has ended on other ranks and not on rank {rank}"
    return found


def _held_up(groups: list[Group], stuck: set[int]) -> dict[int, set[int]]:
    """Who waits for whom, as far as it is for a rank that is stuck."""
    waits_for: dict[int, set[int]] = {}
    for group in groups:
        for rank in stuck & set(group.members):
            first = min((one.seq for one in group.members[rank].open if not one.p2p), default=None)
            for other, member in group.members.items():
                if first is not None and other != rank and any(not one.p2p and one.seq >= first for one in member.open):
                    waits_for.setdefault(other, set()).add(rank)
    return waits_for


def _absent(groups: list[Group], waits_for: dict[int, set[int]], blocked: dict[int, str]) -> set[int]:
    """Ranks that did not enqueue a collective in which others of the group wait; fills in who waits for whom."""
    found = set()
    for group in groups:
        open_seqs = {rank: [one for one in member.open if not one.p2p] for rank, member in group.members.items()}
        last = {rank: max((one.seq for one in mine), default=-1) for rank, mine in open_seqs.items()}
        most = max(last.values(), default=-1)
        behind = {rank: member.enqueued for rank, member in group.members.items()
                  if most >= 0 and not _only_pairs(group) and member.enqueued is not None and member.enqueued < most}
        for rank, enqueued in behind.items():
            missed = [(one.seq, other, one.op) for other, mine in open_seqs.items() if other != rank for one in mine if one.seq > enqueued]
            if not missed:
                continue
            found.add(rank)
            seq, _, op = min(missed)
            waiting = len({other for _, other, _ in missed})
            blocked.setdefault(rank, f"{_called(group)}: {waiting} ranks wait in {op} {seq}, which rank {rank} has not entered")
            for _, other, _ in missed:
                waits_for.setdefault(other, set()).add(rank)
    return found


def _only_pairs(group: Group) -> bool:
    """Whether the group is used between pairs: then the numbers of its ranks cannot be compared."""
    ops = [one.p2p for member in group.members.values() for one in member.open]
    return bool(ops) and all(ops)


def _partners(groups: list[Group], waits_for: dict[int, set[int]]) -> None:
    """Who waits for whom in sends and receives: for a partner that has no open one towards it."""
    for group in groups:
        wanted: set[tuple[int, int]] = set()
        for rank, member in group.members.items():
            for one in member.open:
                match = _PEERS.search(one.op) if one.p2p else None
                if match is None:
                    continue
                places = [int(match[1]), int(match[3])]
                if max(places) >= len(group.ranks):
                    continue
                pair = [group.ranks[place] for place in places]
                other = pair[1] if pair[0] == rank else pair[0]
                wanted.add((rank, other))
        for rank, other in wanted:
            if (other, rank) not in wanted and other in group.members:
                waits_for.setdefault(rank, set()).add(other)


def _unlike(groups: list[Group], blocked: dict[int, str]) -> set[int]:
    """Ranks that are fewer than half of those who entered the collective of one number with something else."""
    found = set()
    for group in groups:
        at: dict[int, dict[tuple[str, str, str], list[int]]] = {}
        for rank, member in group.members.items():
            for one in member.open:
                if not one.p2p:
                    same = one.op in _SAME_SIZE
                    key = (one.op, one.sizes if same else "", one.dtypes if same else "")
                    at.setdefault(one.seq, {}).setdefault(key, []).append(rank)
        for seq in sorted(at):
            if len(at[seq]) > 1:
                sides = sorted(at[seq].items(), key=lambda side: (-len(side[1]), side[0]))
                for key, ranks in sides[1:]:
                    for rank in ranks:
                        found.add(rank)
                        blocked.setdefault(rank, f"{_called(group)}: rank {rank} entered {key[0]} {key[1]} as number {seq}, "
                                           f"{len(sides[0][1])} others {sides[0][0][0]} {sides[0][0][1]}")
                break  # what comes after the first difference follows from it
    return found


def _silent(groups: list[Group], blocked: dict[int, str]) -> set[int]:
    """Members without a dump, of groups in which all the others wait."""
    found = set()
    for group in groups:
        gone = set(group.ranks) - set(group.members)
        waiting = [member for member in group.members.values() if any(not one.p2p for one in member.open)]
        if gone and waiting and len(group.members) > len(gone):
            for rank in gone:
                found.add(rank)
                blocked.setdefault(rank, f"{_called(group)}: {len(waiting)} ranks wait, and rank {rank} left no dump")
    return found


def _reached(start: int, waits_for: dict[int, set[int]]) -> set[int]:
    seen: set[int] = set()
    open_ends = [start]
    while open_ends:
        for other in waits_for.get(open_ends.pop(), ()):
            if other not in seen:
                seen.add(other)
                open_ends.append(other)
    return seen


def _called(group: Group) -> str:
    return f"group {group.name}" + (f" ({group.description})" if group.description else "")


def _groups(dumps: tuple[tuple[int, str], ...]) -> tuple[set[int], list[Group]]:
    """All groups, each with what its ranks say of it; of two dumps of a rank the later one counts."""
    states = {}
    for _, text in sorted(dumps):
        state = _state(text)
        if state is not None:
            states[state[0]] = state[1]
    found: dict[tuple[str, str], Group] = {}
    for rank, groups in states.items():
        for name, ranks, description, member in groups:
            if (name, ranks) not in found:
                found[name, ranks] = Group(name, description, ranks_of(ranks), {})
            found[name, ranks].members[rank] = member
    return set(states), [found[key] for key in sorted(found)]


def _state(text: str) -> tuple[int, list[tuple[str, str, str, Member]]] | None:
    """What a dump said, as the format wrote it: the rank, and of each group name, ranks, description and progress.

    None for what somebody else wrote under this name.
    """
    try:
        state = json.loads(text)
        rank = int(state["rank"])
        return rank, [(str(group["name"]), str(group["ranks"]), str(group["description"]), _member(rank, group))
                      for group in state["groups"]]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _member(rank: int, group: dict[str, Any]) -> Member:
    enqueued, completed = (None if group[name] is None else int(group[name]) for name in ("enqueued", "completed"))
    return Member(rank, enqueued, completed, tuple(
        Open(int(one["seq"]), str(one["op"]), bool(one["p2p"]), str(one["sizes"]), str(one["dtypes"]), int(one["created_ns"]))
        for one in group["open"]))


def ranks_of(spans: str) -> tuple[int, ...]:
    """Ranks of spans.

    >>> ranks_of("0-2,8")
    (0, 1, 2, 8)
    """
    ranks: list[int] = []
    for part in spans.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and len(part) < 24 and len(ranks) < _MOST_RANKS:
            end = int(last) if last.isdecimal() else int(first)
            ranks.extend(range(int(first), min(end, int(first) + _MOST_RANKS - len(ranks)) + 1))
    return tuple(ranks[:_MOST_RANKS])
