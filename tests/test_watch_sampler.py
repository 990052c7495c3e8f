"""The beat of the readings, on a clock that stands still."""

from pinchpoint.clock import HeldClock
from shippers.watch.sampler import Sampler


def kinds(sampler: Sampler) -> set[str]:
    return {str(record["entity.kind"]) for record in sampler.records()}


def test_readings_come_once_an_interval() -> None:
    """The first at once, then one each interval, whenever it is asked."""
    clock = HeldClock()
    sampler = Sampler("h", clock, 1.0)

    read = []
    for _ in range(10):
        read.append("host" in kinds(sampler))
        clock.advance(0.5)

    assert read == [True, False] * 5


def test_the_beat_is_kept_and_missed_ones_are_not_made_up_for() -> None:
    """A late reading does not move the next one, and after a long stop there is one reading, not many."""
    clock = HeldClock()
    sampler = Sampler("h", clock, 1.0)
    kinds(sampler)

    clock.advance(1.25)
    kinds(sampler)
    late = sampler.wait_s()
    clock.advance(100)
    kinds(sampler)

    assert late == 0.75
    assert sampler.wait_s() == 0.75
