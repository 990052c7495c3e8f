"""The command `compare`: what changed from one recorded input or run to another."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from pinchpoint import output
from pinchpoint.errors import UsageError
from pinchpoint.output import HELP, Column, config_option, seconds, store_option, table
from pinchpoint.progress import progress
from pinchpoint.store import open_store
from shippers.diagnose import analysis, ship
from shippers.recorded import recorded

_GATE = 3
#: Rows of a table for people; JSON has all.
_MOST_ROWS = 12
_WORDS = {"slower": ("SLOWER", "red"), "faster": ("FASTER", "green"), "same": ("SAME", "green"),
          "not_enough_data": ("NOT ENOUGH DATA", "yellow")}

Side = tuple[str, str | None, list[dict[str, Any]]]


class Percent(click.ParamType[float]):
    """A share such as 5% or 0.05, as a ratio."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The ratio."""
        if isinstance(value, float):
            return value
        try:
            ratio = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            ratio = math.nan
        if not 0 <= ratio < 100:
            self.fail(f"expected a share such as 5% or 0.05, got {value!r}", param, ctx)
        return ratio


@click.command(context_settings=HELP)
@config_option
@store_option
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@click.option("--reader", metavar="NAME", help="Read files as this format instead of looking inside.")
@click.option("--format", "output_format", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True,
              help="How to print the answer; markdown is for the comments of a review.")
@click.option("--fail-over", type=Percent(), metavar="SHARE",
              help="Exit with 3 when a step takes longer by more than this, such as 5%, and that is beyond doubt: a gate for CI.")
def compare(config: Any, store: str, before: str, after: str, reader: str | None, output_format: str, fail_over: float | None) -> None:
    """Say what changed from one run to another, and where.

    BEFORE and AFTER are files or folders as `diagnose` reads them, or runs of the store. Warm-up is left out of both; the interval says
    how sure the difference is. Where the work of a step differs (tokens, samples), the same work is compared.

    \b
    Example:
      pinchpoint compare main.ndjson branch.ndjson
      pinchpoint compare llm-20260101T0900 llm-20260102T0900 --store runs/
    In CI, on traces of the same job:
      pinchpoint compare --fail-over 5% before.json.gz after.json.gz
    """
    with contextlib.ExitStack() as stack, progress("Reading and comparing"):
        sides, inputs = [], {}
        for name, given in (("before", before), ("after", after)):
            side, inputs[name] = stack.enter_context(_opened(given, store, reader))
            sides.append(side)
        answer: dict[str, Any] = analysis("compare")(sides[0], sides[1])
    answer["inputs"] = inputs
    for one in (*inputs["before"], *inputs["after"]):
        if not one["records"]:
            click.echo(f"{output.printable(one['path'])}: {' '.join(map(output.printable, one['notes'])) or 'no records in it'}", err=True)
    click.echo(_text(answer, output_format))
    if fail_over is not None and answer["verdict"] == "slower" and answer["change"]["ratio"] > fail_over:
        click.get_current_context().exit(_GATE)
    if answer["verdict"] == "not_enough_data":
        click.get_current_context().exit(1)


@contextlib.contextmanager
def _opened(given: str, store_url: str, reader: str | None) -> Iterator[tuple[Side, list[dict[str, Any]]]]:
    """A side where its records are; those of files lie in a store of their own until the context ends.

    Raises: UsageError when there is neither a file nor a run of this name.
    """
    if Path(given).exists():
        with recorded() as own:
            inputs, operations = ship((given,), reader, own, None)
            yield (own.url, None, operations), inputs
        return
    if not _has_run(store_url, given):
        raise UsageError(f"{given}: no such file or folder, and no such run in {store_url}.\n"
                         "Runs are listed by `pinchpoint incidents`, and named by `pinchpoint watch --run`.")
    yield (store_url, given, []), []


def _has_run(store_url: str, run_id: str) -> bool:
    import pyarrow.compute as pc

    store = open_store(store_url)
    return any(pc.any(pc.equal(batch.column("run.id"), run_id)).as_py() for split in store.splits("step")
               for batch in store.read(split, ["run.id"]))


def _text(answer: dict[str, Any], output_format: str) -> str:
    if output_format == "json":
        return json.dumps(answer, ensure_ascii=True, allow_nan=False, indent=2)
    word, tone = _WORDS[answer["verdict"]]
    is_table = output_format == "table"
    coloured = is_table and sys.stdout.isatty()
    heads = (f"{one['run']}: {one['steps']} steps, {one['ranks']} rank{'s' if one['ranks'] != 1 else ''}"
             for one in (answer["before"], answer["after"]))
    parts = [(click.style(word, fg=tone, bold=True) if coloured else word if is_table else f"**{word}**") + "  "
             + output.printable(" → ".join(heads)), output.printable(answer["summary"])]
    for title, rows, columns in _tables(answer):
        if rows:
            shown = table(rows[:_MOST_ROWS], columns, output.terminal_width()) if is_table else _markdown(rows[:_MOST_ROWS], columns)
            parts.append(f"{title}\n{shown}" if is_table else f"{title}\n\n{shown}")
    notes = [f"note: {one['path']}: {note}" for side in answer["inputs"].values() for one in side for note in one["notes"]]
    return "\n\n".join([*parts, *map(output.printable, notes)])


def _tables(answer: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]], list[Column]]]:
    times = [Column("before_s", "BEFORE", seconds), Column("after_s", "AFTER", seconds), Column("change_s", "CHANGE", _signed)]
    phases = [{**one, "phase": one["phase"].replace("_", " ")} for one in answer["phases"]]
    of = f" for the same {answer['change']['work']}" if answer["change"]["work"] else ""
    yield f"Seconds a step{of}, by phase", phases, [Column("phase", "PHASE"), *times, Column("lost_seconds", "LOST IN ALL", _signed)]
    yield "Seconds a step, by family of operations (the names that took most)", answer["operations"], [Column("family", "FAMILY"), *times]
    yield "Set otherwise", answer["settings"], [Column("name", "SETTING"), Column("before", "BEFORE"), Column("after", "AFTER")]


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + seconds(value)


def _markdown(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> str:
    """A table as GitHub and its kin show it; what would be markup there is text."""
    def cell(column: Column, value: Any) -> str:
        text = "-" if value is None else column.show(value) if column.show else str(value)
        return output.printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

    lines = [[column.heading.capitalize() for column in columns], [":--" if column.show is None else "--:" for column in columns],
             *([cell(column, row.get(column.name)) for column in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
