"""A lane carries the few lines that a busy server gives back along with the next ones, and makes progress only past what is settled."""

import random

from hypothesis import given
from hypothesis import strategies as st

from shippers.items import CREATE, CREATED, Batch, Item, LogItems
from shippers.lanes import Ending, Lane


def batch(number: int, size: int) -> Batch:
    """A batch of lines whose token is its number."""
    ids = [f"{number:03d}-{place:03d}" for place in range(size)]
    return Batch(LogItems(b"".join(b"%b%b%b\n{}\n" % (CREATE, one.encode(), CREATED) for one in ids), size), number)


class Source:
    """An input that gives batches, now and then none, and knows what was settled."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes, self._given = sizes, 0
        self.tokens: list[object] = []

    def take(self, most_bytes: int) -> Batch | None:
        if self._given == len(self._sizes):
            return None
        self._given += 1
        size = self._sizes[self._given - 1]
        return batch(self._given, size) if size else None

    def settled(self, token: object) -> None:
        self.tokens.append(token)

    def counters(self) -> dict[str, float]:
        return {"given": float(self._given)}

    def close(self) -> None:
        pass


class BusyOutput:
    """Takes some of what it is given, and gives the rest back while it may."""

    name, linger_s = "busy", 0.0

    def __init__(self, source: Source, seed: int) -> None:
        self._source, self._chance = source, random.Random(seed)
        self.stored: list[str] = []
        self.settled_too_early: list[object] = []

    def most_bytes(self) -> int:
        return 1 << 20

    def deliver(self, items, *, may_leave: bool = False) -> list[Item]:
        left = [one for one in items if may_leave and self._chance.random() < 0.3]
        self.stored += [one.id for one in items if one not in left]
        return left

    def trouble(self) -> None:
        return None

    def counters(self) -> dict[str, float]:
        return {}

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 1000))
def test_each_line_is_delivered_once_and_each_batch_settled_once(sizes: list[int], seed: int) -> None:
    """Whatever is given back, and wherever an input pauses."""
    source = Source(sizes)
    output = BusyOutput(source, seed)
    ending = Ending()
    lane = Lane(output, [source], ending, print)
    ending.finishing.set()
    lane.start()
    assert lane.join(30)

    assert sorted(output.stored) == sorted(f"{number:03d}-{place:03d}" for number, size in enumerate(sizes, 1) for place in range(size))
    assert sorted(source.tokens) == [number for number, size in enumerate(sizes, 1) if size]
    assert lane.left is None


def test_a_batch_is_settled_only_with_its_last_line() -> None:
    """While one of its lines is on its way again, a batch is open; later ones may be settled before it."""
    source = Source([2, 1, 1])
    progress = []

    class Output(BusyOutput):
        def deliver(self, items, *, may_leave: bool = False) -> list[Item]:
            progress.append(list(source.tokens))
            return [one for one in items if one.id == "001-001" and len(progress) < 3]

    ending = Ending()
    lane = Lane(Output(source, 0), [source], ending, print)
    ending.finishing.set()
    lane.start()
    assert lane.join(30)

    assert progress == [[], [], [2]]
    assert source.tokens == [2, 1, 3]
