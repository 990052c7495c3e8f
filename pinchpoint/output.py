"""What every command shares: its options, and rows printed as table, JSON or CSV."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from pinchpoint.clock import parse_span
from pinchpoint.errors import UsageError
from pinchpoint.human import UNPRINTABLE, escape, printable, seconds, share, size, three_digits

if TYPE_CHECKING:
    from pinchpoint.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

__all__ = ["FORMATS", "HELP", "Column", "Span", "check_target", "config_option", "csv_text", "emit", "format_option", "json_text",
           "printable", "seconds", "share", "size", "store_option", "table", "terminal_width", "three_digits"]

FORMATS = ("table", "json", "csv")

#: Settings of every command: click keeps the first help option it makes, so that each command says it itself.
HELP = {"help_option_names": ["-h", "--help"]}

#: Column widths below which nothing of a text is recognised any more.
_NARROWEST = 8
_DEFAULT_WIDTH = 80

class Column(NamedTuple):
    """One column of a table: the key in a row, the heading, how a value is shown, and whether it may be cut."""

    name: str
    """Key in the rows, and the name in JSON and CSV."""
    heading: str
    show: Callable[[Any], str] | None = None
    """Turns a value into text for people; None shows it as it is. JSON and CSV always get the bare value."""
    whole: bool = False
    """Never cut, such as an id that is meant to be copied; numbers never are."""


class Span(click.ParamType[float]):
    """A stretch of time such as 5m, 1h or 7d, in seconds."""

    name = "span"

    def __init__(self, least_s: float = 0.0) -> None:
        """least_s: the shortest that can be meant."""
        self._least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of the span."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_span(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self._least_s:
            self.fail(f"expected at least {self._least_s:g} s, got {value!r}", param, ctx)
        return seconds


def format_option(command: Command) -> Command:
    """Add `--format table|json|csv`; the command gets `output_format`."""
    return click.option("--format", "output_format", type=click.Choice(FORMATS), default="table", show_default=True,
                        help="How to print the answer.")(command)


def config_option(command: Command) -> Command:
    """Add `--config FILE`; the command gets `config`, a `pinchpoint.config.Config` that is checked already."""
    return click.option("--config", metavar="FILE", callback=_load_config, is_eager=True,
                        help="Settings file.  [default: $PINCHPOINT_CONFIG, ./pinchpoint.toml, then that of the user]")(command)


def store_option(command: Command) -> Command:
    """Add `--store URL`; the command gets `store`, a URL for `pinchpoint.store.open_store`."""
    return click.option("--store", metavar="URL", envvar="PINCHPOINT_STORE", callback=_store_url,
                        help="Where the records are: a folder, s3://…, https://… (Elasticsearch) or memory:.  "
                             "[default: $PINCHPOINT_STORE, the settings file, then a folder of the user]")(command)


def _load_config(ctx: click.Context, parameter: click.Parameter, value: str | None) -> "Config":
    from pinchpoint import config

    if value is None:
        return config.load()
    loaded = config.load(Path(value))
    # a store that is opened deeper down, or in a process that is started, reads the same settings
    os.environ["PINCHPOINT_CONFIG"] = str(Path(value).absolute())
    return loaded


def _store_url(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value:
        return value
    from pinchpoint import config

    settings = ctx.params.get("config") or config.load()
    return settings.store or config.default_url()


def check_target(option: str, path: Path) -> None:
    """Refuse a file that cannot be written before the work begins.

    Raises: UsageError naming the option.
    """
    folder = path.absolute().parent
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: cannot write to {path if path.is_dir() else folder}")


def emit(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], output_format: str) -> None:
    """Print rows on stdout; a table of no rows prints nothing.

    Args:
        rows: one mapping a row; a key that is missing counts as None.
        columns: what is printed, most important first.
        output_format: one of `FORMATS`.
    """
    if output_format == "json":
        click.echo(json_text([{column.name: row.get(column.name) for column in columns} for row in rows]))
    elif output_format == "csv":
        click.echo(csv_text(rows, columns), nl=False)
    elif rows:
        click.echo(table(rows, columns, terminal_width()))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], width: int) -> str:
    """A table of at most `width` cells where that can be had by cutting texts, the widest first; numbers are never cut.

    >>> print(table([{"id": "a1", "lost": 12.3}], [Column("id", "ID"), Column("lost", "LOST", seconds)], 80))
    ID    LOST
    a1  12.3 s
    """
    from rich.cells import cell_len, set_cell_size

    cells = [[_cell(column, row.get(column.name)) for column in columns] for row in rows]
    lines = [[column.heading for column in columns], *cells]
    numeric = [_is_numeric(row.get(column.name) for row in rows) for column in columns]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(columns))]
    cut = [not (column.whole or number) for column, number in zip(columns, numeric, strict=True)]
    widths = _fit(widths, cut, width - 2 * (len(columns) - 1))

    def pad(text: str, place: int) -> str:
        have, want = cell_len(text), widths[place]
        if have > want:
            return set_cell_size(text, want - 1) + "…"
        return " " * (want - have) + text if numeric[place] else text + " " * (want - have)

    return "\n".join("  ".join(pad(text, place) for place, text in enumerate(line)).rstrip() for line in lines)


def _fit(widths: Sequence[int], cut: Sequence[bool], available: int) -> list[int]:
    """Take what is too much from the widest columns that may be cut, of equal ones from the last.

    >>> _fit([10, 30, 40], [False, True, True], 60)
    [10, 25, 25]
    """
    fitted = list(widths)
    while sum(fitted) > available:
        places = [place for place, may in enumerate(cut) if may and fitted[place] > _NARROWEST]
        if not places:
            break
        fitted[max(places, key=lambda place: (fitted[place], place))] -= 1
    return fitted


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return "-"
    if column.show is not None:
        return printable(column.show(value))
    if isinstance(value, float):
        return three_digits(value)
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value)))
    return printable(str(value))


def _is_numeric(values: Iterable[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Rows as RFC 4180 wants them: a heading, CR LF, quotes where needed; None and NaN are empty, lists and mappings are JSON."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row.get(column.name)) for column in columns])
    # a file keeps every character, a terminal must not act on them
    return escape(text.getvalue(), keep="\r\n\t") if sys.stdout.isatty() else text.getvalue()


def _csv_cell(value: Any) -> Any:
    plain = _plain(value)
    return json_text(plain, indent=None) if isinstance(plain, list | dict) else plain


def json_text(value: Any, indent: int | None = 2) -> str:
    r"""Any value as JSON; NaN and infinity become null, what a terminal might act upon is written as \\uXXXX.

    >>> json_text({"score": float("nan")}, indent=None)
    '{"score": null}'
    """
    import json

    text = json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return UNPRINTABLE.sub(lambda bad: bad[0] if bad[0] == "\n" else f"\\u{ord(bad[0]):04x}", text)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    if hasattr(value, "tolist"):  # of NumPy: a scalar or an array
        return _plain(value.tolist())
    return str(value)


def terminal_width() -> int:
    """Cells in a line of stdout: of the terminal or $COLUMNS; 80 where stdout is no terminal."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return _DEFAULT_WIDTH
    import shutil

    return shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns
