"""Times and spans as text, and a clock that tests hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint import clock

# what 64 bits of nanoseconds hold: 1677 to 2262
TIMES = st.integers(-(2**63), 2**63 - 1)


@given(TIMES)
def test_formatted_time_is_parsed_to_the_same_nanosecond(time_ns):
    """Writing a time and reading it gives the time back."""
    assert clock.parse_time(clock.format_time(time_ns)) == time_ns


@given(TIMES, TIMES)
def test_formatted_times_of_one_second_sort_as_times_do(one, other):
    """Up to whole seconds the text sorts as the time does."""
    one, other = one // clock.NS * clock.NS, other // clock.NS * clock.NS
    assert (clock.format_time(one) < clock.format_time(other)) == (one < other)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T01:00:00+0100", "2026-01-01T00:00:00Z"),
        ("2026-01-01 00:00:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00", "2026-01-01T00:00:00Z"),
        (" 2026-01-01T00:00:00Z\n", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00,25Z", "2026-01-01T00:00:00.25Z"),
        ("2026-01-01T00:00:00.1234567899Z", "2026-01-01T00:00:00.123456789Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
    ],
)
def test_spellings_of_a_time(text, same):
    """Zones, commas, blanks and missing parts are understood."""
    assert clock.format_time(clock.parse_time(text)) == same


@pytest.mark.parametrize("text", ["", "now", "2026", "2026-01-01", "2026-01-01T25:00:00Z", "2026-13-01T00:00:00Z", "1767225600"])
def test_what_is_no_time_is_refused_with_an_example(text):
    """The error shows a time as it should be and what was given."""
    with pytest.raises(ValueError, match=r"expected a time such as 2026-01-01T00:00:00Z, got ") as refused:
        clock.parse_time(text)
    assert repr(text) in str(refused.value)


@given(st.integers(0, 52), st.integers(0, 365), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_parts_of_a_span_add_up(weeks, days, hours, minutes, seconds):
    """A span is the sum of its parts."""
    expected = ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds
    assert clock.parse_span(f"{weeks}w{days}d{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "1h 30m", "5x", "1h30"])
def test_what_is_no_span_is_refused_with_an_example(text):
    """The error shows a span as it should be and what was given."""
    with pytest.raises(ValueError, match=r"expected a span such as 90s, 5m, 1h or 7d, got "):
        clock.parse_span(text)


def test_a_held_clock_stands_still_and_sleeps_by_moving():
    """Time moves only by sleep and advance; the sleeps are written down."""
    held = clock.HeldClock(now_ns=5)
    assert (held.now_ns(), held.monotonic_s()) == (5, 0.0)
    held.sleep(1.5)
    held.advance(0.5)
    assert (held.now_ns(), held.monotonic_s(), held.slept) == (2_000_000_005, 2.0, [1.5])


def test_a_held_wall_clock_may_go_backwards():
    """Setting the clock back moves the wall clock only."""
    held = clock.HeldClock(now_ns=clock.NS)
    held.advance(-1)
    assert (held.now_ns(), held.monotonic_s()) == (0, 0.0)


def test_the_system_clock_agrees_with_itself():
    """Two readings follow each other, and a sleep of nothing returns."""
    before = clock.SYSTEM_CLOCK.monotonic_s(), clock.SYSTEM_CLOCK.now_ns()
    clock.SYSTEM_CLOCK.sleep(0)
    assert clock.SYSTEM_CLOCK.monotonic_s() >= before[0]
    assert clock.parse_time(clock.format_time(before[1])) == before[1]
