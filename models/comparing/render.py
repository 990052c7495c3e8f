"""A comparison as text for a terminal, and as Markdown for a pull request."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinchpoint.human import printable, seconds

_WORDS = {"slower": ("SLOWER", "\x1b[31m"), "faster": ("FASTER", "\x1b[32m"), "same": ("SAME", "\x1b[32m"),
          "not_enough_data": ("NOT ENOUGH DATA", "\x1b[33m")}
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
#: Rows of a table; JSON has all.
_MOST_ROWS = 12
_WIDEST = 40

Row = tuple[str, ...]


def render_table(found: Mapping[str, Any], *, color: bool = False) -> str:
    """For people at a terminal."""
    word, tone = _WORDS[found["verdict"]]
    lines = [f"{_BOLD}{tone}{word}{_PLAIN}" if color else word, "", printable(found["summary"])]
    for title, head, rows in _tables(found):
        widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
        lines += ["", title]
        lines += ["  " + "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
                  for row in (head, *rows)]
    lines += [line for note in found["notes"] for line in ("", f"note: {printable(note)}")]
    return "\n".join(lines)


def render_markdown(found: Mapping[str, Any]) -> str:
    """For a comment on a pull request."""
    lines = [f"**{_WORDS[found['verdict']][0]}**: {_escaped(found['summary'])}"]
    for title, head, rows in _tables(found):
        lines += ["", f"**{title}**", "", "| " + " | ".join(map(_escaped, head)) + " |", "|---|" + "---:|" * (len(head) - 1)]
        lines += ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    lines += [line for note in found["notes"] for line in ("", f"> {_escaped(note)}")]
    return "\n".join(lines)


def _tables(found: Mapping[str, Any]) -> Iterator[tuple[str, Row, list[Row]]]:
    """Title, heading and rows of each table that has any."""
    a, b = found["a"], found["b"]
    yield "steps", ("", "A", "B"), [
        ("name", _short(a["name"]), _short(b["name"])), ("steps", str(a["steps"]), str(b["steps"])),
        ("ranks", str(a["ranks"]), str(b["ranks"])), ("step time", _time(a["step_time_s"]), _time(b["step_time_s"])),
        ("mean", _time(a["mean_step_time_s"]), _time(b["mean_step_time_s"])),
        ("spread", _share(a["spread_ratio"]), _share(b["spread_ratio"]))]
    by = (("seconds of a step, by phase", found["phases"]), ("seconds of a step, by family of operations", found["families"]))
    for title, rows in by:
        if rows:
            cells: list[Row] = [(row["name"], _time(row["a_s"]), _time(row["b_s"]), _signed(row["change_s"])) for row in rows[:_MOST_ROWS]]
            yield title, ("", "A", "B", "change"), cells
    if found["shares"]:
        yield "shares", ("", "A", "B"), [(row["name"], _share(row["a"]), _share(row["b"])) for row in found["shares"][:_MOST_ROWS]]
    if found["settings"]:
        yield "set up differently", ("", "A", "B"), [(_short(row["name"]), _short(row["a"]), _short(row["b"]))
                                                     for row in found["settings"][:_MOST_ROWS]]


def _time(value: float | None) -> str:
    return "-" if value is None else seconds(value)


def _signed(value: float) -> str:
    return "0 s" if value == 0 else ("+" if value > 0 else "-") + seconds(abs(value))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _short(text: str | None) -> str:
    shown = "-" if text is None else printable(text)
    return shown if len(shown) <= _WIDEST else "…" + shown[1 - _WIDEST:]


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
