"""Output cut into log records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinchpoint.clock import NS
from shippers.watch.lines import MOST_LINE_BYTES, MOST_LINES_A_SECOND, LineCutter, guess_level, plain


def cut(*chunks: bytes) -> list[dict[str, object]]:
    cutter = LineCutter("stdout")
    return [record for chunk in chunks for record in cutter.feed(chunk, NS)] + list(cutter.end(NS))


def test_carriage_returns_end_lines() -> None:
    """Each state of a progress bar is a line; line ends of a terminal leave no empty ones."""
    assert [(one["message"], one["log.offset"]) for one in cut(b"10%\r20%\rdone\r\nnext\n")] == [
        ("10%", 0), ("20%", 4), ("done", 8), ("next", 14)]


def test_a_long_line_is_cut_once() -> None:
    """Of an endless line the beginning is kept, and what follows its end is whole again."""
    records = cut(b"a" * (MOST_LINE_BYTES * 3), b"a" * 100_000, b"\nnext\n")

    assert [len(str(one["message"])) for one in records] == [MOST_LINE_BYTES, 4]
    assert records[1]["log.offset"] == MOST_LINE_BYTES * 3 + 100_001


def test_a_flood_is_counted() -> None:
    """Lines above the limit of a second are left out, with an event that says how many; the next second starts anew."""
    cutter = LineCutter("stdout")

    first = list(cutter.feed(b"x\n" * (MOST_LINES_A_SECOND + 500), NS)) + list(cutter.feed(b"y\n" * 300, NS))
    second = list(cutter.feed(b"z\n", 2 * NS))

    assert [one["message"] for one in first] == ["x"] * MOST_LINES_A_SECOND
    assert [(one.get("event.reason"), one.get("message"), one.get("log.offset")) for one in second] == [
        ("800 lines of stdout above 1000 in a second", None, None), (None, "z", 2 * (MOST_LINES_A_SECOND + 800))]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    """However the output arrives, the records are those of the whole."""
    assert cut(*chunks) == cut(b"".join(chunks))


@given(st.lists(st.text(alphabet="ab \té", min_size=1, max_size=9).filter(str.strip), max_size=20))
def test_every_line_comes_out_once(lines: list[str]) -> None:
    """Text lines come out as they went in, each where it starts."""
    data = "".join(line + "\n" for line in lines).encode()

    records = cut(data)

    assert [one["message"] for one in records] == lines
    for one in records:
        assert data[int(str(one["log.offset"])) :].startswith(str(one["message"]).encode())


@pytest.mark.parametrize(("line", "text"), [
    (b"\x1b[1;31mred\x1b[0m", "red"), (b"\x1b]0;title\x07text", "text"), (b"a\x08b\x00", "ab"), (b"\xff\xfe", "\ufffd\ufffd"),
    (b"tab\there", "tab\there"),
    (b"\x1b[2K\x1b[1Gnow", "now"),
])
def test_control_characters_are_left_out(line: bytes, text: str) -> None:
    """What moves cursors and sets colours is no text."""
    assert plain(line) == text


@pytest.mark.parametrize(("line", "level"), [
    ("[ERROR] disk", "error"), ("W level=warn msg=x", "warning"), ('{"level":"debug"}', "debug"),
    ("Traceback (most recent call last):", "error"),
    ("torch.cuda.OutOfMemoryError: CUDA out of memory", "error"), ("CRITICAL x", "critical"),
    ("the error rate is 3", None), ("INFORMATION", None),
])
def test_levels(line: str, level: str | None) -> None:
    """A level is what a line says of itself, not a word in a sentence."""
    assert guess_level(line) == level
