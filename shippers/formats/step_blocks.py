"""The lines of Megatron-LM in a block of lines, all at once: its logs have millions of them, one for each step."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_TIME = b"elapsed time per iteration ("
_STEP, _COUNTED = b"iteration", b"nan iterations:"
_MOST_DIGITS, _MOST_SPACES = 12, 12
#: How far the step may stand before the time, as in `step_lines`.
_MOST_BETWEEN = 450
_NEWLINE, _SPACE, _SLASH, _POINT, _ZERO, _LOWER, _A, _N = b"\n /.0 an"
_PAD = 64


class Block(NamedTuple):
    """What was found in a block; shapes (lines,)."""

    start: Integers
    """Where each line begins."""
    end: Integers
    """Where its newline stands."""
    is_step: Booleans
    """Whether a line is one of a step, and of nothing else; the others have to be read one by one."""
    step: Integers
    seconds: NDArray[np.float64]
    """Of one step; with `step` of no meaning where a line is none."""


def parse_block(block: bytes) -> Block:
    """Steps and seconds of the lines `iteration N/ M | … | elapsed time per iteration (ms): X | …` of a block.

    What `step_lines.parse_line` finds in such a line; one in which anything is unusual, or that holds `nan`, is left to that.

    >>> found = parse_block(b" iteration  7/ 9 | elapsed time per iteration (ms): 1250.5 |\\nsaved\\n")
    >>> found.is_step, found.step[0], found.seconds[0]
    (array([ True, False]), np.int64(7), np.float64(1.2505))
    """
    data = np.frombuffer(block.ljust(len(block) + _PAD, b"\n"), np.uint8)
    end = np.flatnonzero(data[: len(block)] == _NEWLINE)
    if not len(end) or end[-1] != len(block) - 1:
        end = np.append(end, len(block))
    start = np.concatenate(([0], end[:-1] + 1))
    marks = _places(data, _TIME)
    line = np.searchsorted(end, marks)
    # a second one in the same line stands behind the first
    line, first = np.unique(line, return_index=True)
    marks = marks[first]
    begin = start[line]
    value_at, unit_s = _unit(data, marks + len(_TIME))
    seconds, good = _decimal(data, value_at)
    step, known = _step_before(data, begin, marks)
    good &= known & (unit_s > 0)
    seconds *= unit_s
    good &= (seconds > 0) & (seconds < 1e6)
    is_step, steps, times = np.zeros(len(end), bool), np.zeros(len(end), np.int64), np.zeros(len(end))
    is_step[line], steps[line], times[line] = good, step, seconds
    is_step[np.searchsorted(end, _nans(data))] = False
    return Block(start, end, is_step, steps, times)


def _places(data: Bytes, text: bytes) -> Integers:
    """Where a text that ends in a parenthesis stands."""
    found = np.flatnonzero(data == text[-1]) - (len(text) - 1)
    found = found[found >= 0]
    return found[_stands(data, found, text)]


def _unit(data: Bytes, at: Integers) -> tuple[Integers, NDArray[np.float64]]:
    """Where the value begins, and what its unit is in seconds; 0 for another one."""
    value_at, unit_s = at.copy(), np.zeros(len(at))
    for text, unit in ((b"ms): ", 1e-3), (b"s): ", 1.0)):
        here = _stands(data, at, text)
        value_at[here] += len(text)
        unit_s[here] = unit
    return value_at, unit_s


def _stands(data: Bytes, at: Integers, text: bytes) -> Booleans:
    """Whether a text stands at each place."""
    same = np.ones(len(at), bool)
    for offset, character in enumerate(text):
        same &= data[at + offset] == character
    return same


def _decimal(data: Bytes, at: Integers) -> tuple[NDArray[np.float64], Booleans]:
    """The number `123.45` at each place, and whether a space or the end of the line follows it."""
    whole, scale = np.zeros(len(at)), np.ones(len(at))
    place, fraction, going = at.copy(), np.zeros(len(at), bool), np.ones(len(at), bool)
    for _ in range(2 * _MOST_DIGITS):
        character = data[place]
        digit = going & (character - _ZERO < 10)
        point = going & (character == _POINT) & ~fraction & (place > at)
        whole = np.where(digit, whole * 10 + (character - _ZERO), whole)
        scale = np.where(digit & fraction, scale * 10, scale)
        fraction |= point
        going = digit | point
        if not going.any():
            break
        place += going
    # 15 digits are exact
    return whole / scale, ((data[place] == _SPACE) | (data[place] == _NEWLINE)) & (place > at) & (whole < 1e15) & ~going


def _step_before(data: Bytes, begin: Integers, mark: Integers) -> tuple[Integers, Booleans]:
    """The number before the first slash of each line, and whether `iteration` stands before it."""
    slashes = np.append(np.flatnonzero(data == _SLASH), len(data) - 1)
    place = slashes[np.searchsorted(slashes, begin)]
    good = (place < mark) & (mark - place < _MOST_BETWEEN - _MOST_DIGITS - _MOST_SPACES - len(_STEP))
    place = np.where(good, place, begin) - 1
    number, scale = np.zeros(len(begin), np.int64), 1
    going = good.copy()
    for _ in range(_MOST_DIGITS):
        going &= (place >= begin) & (data[place] - _ZERO < 10)
        if not going.any():
            break
        number += np.where(going, (data[place].astype(np.int64) - _ZERO) * scale, 0)
        place -= going
        scale *= 10
    good &= (scale > 1) & (data[place] == _SPACE)
    going = good.copy()
    for _ in range(_MOST_SPACES):
        going &= (place >= begin) & (data[place] == _SPACE)
        if not going.any():
            break
        place -= going
    word = place - (len(_STEP) - 1)
    good &= word >= begin
    return number, good & _stands(data, np.where(good, word, 0), _STEP)


def _nans(data: Bytes) -> Integers:
    """Where a `nan` stands, in capitals or not, that is not the count of them which Megatron-LM prints."""
    # one bit apart: capitals
    lower = data | _LOWER
    found = np.flatnonzero((lower[1:-1] == _A) & (lower[:-2] == _N) & (lower[2:] == _N))
    return found[~_stands(data, found, _COUNTED)]
