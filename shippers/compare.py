"""The command `compare`: two recorded or stored runs in, what changed out."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pinchpoint import output
from pinchpoint.errors import InputError, UsageError
from pinchpoint.output import HELP, config_option, store_option
from pinchpoint.progress import progress
from shippers.diagnose import analysis, ship
from shippers.recorded import recorded

_GATE = 3


class _Share(click.ParamType[float]):
    """A share as 5% or 0.05."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share, from 0 on."""
        if isinstance(value, float):
            return value
        number, percent = (value[:-1], 100) if value.endswith("%") else (value, 1)
        try:
            share = float(number) / percent
        except ValueError:
            share = -1.0
        if not 0 <= share < 1000:
            self.fail(f"expected a share such as 5% or 0.05, got {value!r}", param, ctx)
        return share


@click.command(context_settings=HELP)
@config_option
@store_option
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--reader", metavar="NAME", help="Read the inputs as this format instead of looking inside.")
@click.option("--fail-over", type=_Share(), metavar="SHARE", help="Exit with 3 when B is slower by more than this, such as 5%.")
@click.option("--format", "output_format", type=click.Choice(["table", "json", "md"]), default="table", show_default=True,
              help="How to print the answer; md is for a comment on a pull request.")
def compare(config: Any, store: str, a: str, b: str, reader: str | None, fail_over: float | None, output_format: str) -> None:
    """Say what changed from run A to run B.

    A and B are files, folders or archives of any kind that `pinchpoint diagnose` reads, or ids of runs in the store. The medians of their
    steps decide whether B is slower, faster or the same; the seconds of each phase and family of operations, and what was set up
    differently, say where that comes from.

    \b
    Example:
      pinchpoint compare before.json.gz after.json.gz
      pinchpoint compare main.log branch.log --fail-over 5%
      pinchpoint compare run-17 run-18 --format md
    """
    with contextlib.ExitStack() as stack:
        with progress("Reading and comparing"):
            before, after = (stack.enter_context(_side(one, store, reader)) for one in (a, b))
            found = analysis("compare")(before, after)
        if output_format == "json":
            click.echo(output.json_text(found))
        elif output_format == "md":
            click.echo(analysis("compare_markdown")(found))
        else:
            click.echo(analysis("compare_table")(found, color=sys.stdout.isatty()))
        if found["verdict"] == "not_enough_data":
            click.get_current_context().exit(1)
        if fail_over is not None and analysis("compare_exceeds")(found, fail_over):
            click.get_current_context().exit(_GATE)


@contextlib.contextmanager
def _side(text: str, store_url: str, reader: str | None) -> Iterator[dict[str, Any]]:
    """One run: its inputs brought into a store of their own, or where it lies in the store."""
    if text != "-" and not Path(text).exists():
        if "/" in text or "." in Path(text).suffix:
            raise UsageError(f"{text}: no such file or folder")
        yield {"name": text, "store": store_url, "run": text, "families": {}, "settings": {}}
        return
    with recorded() as place:
        inputs, readings = ship((text,), reader, place, None)
        if not any(one["records"] for one in inputs):
            why = next((note for one in inputs for note in one["notes"]), "no records in it")
            raise InputError(f"{text}: nothing to compare: {why}")
        families: dict[str, float] = {}
        settings: dict[str, str] = {}
        traces = [one for one in readings if one.families]
        for one in readings:
            settings.update(one.settings)
        for one in traces:
            for family, seconds in one.families.items():
                # the mean of the ranks
                families[family] = families.get(family, 0.0) + seconds / len(traces)
        yield {"name": text, "store": place.url, "run": None, "families": families, "settings": settings}
