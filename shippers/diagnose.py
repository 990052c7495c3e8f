"""The command `diagnose`: recorded inputs into a lake of their own, and the analysis over it."""

import json
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from pinchpoint import output
from pinchpoint.config import Config
from pinchpoint.errors import PinchpointError
from pinchpoint.output import config_option
from pinchpoint.progress import progress

_GATE = 3


@click.command()
@config_option
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--reader", metavar="NAME", help="Read the inputs as this format instead of looking inside.")
@click.option("--at", metavar="TIME", help="When somebody noticed; the onset may lie before.")
@click.option("--symptom", metavar="ENTITY/METRIC", help="What somebody noticed.")
@click.option("--graph", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Who depends on whom, as JSON.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
@click.option("--fail-on", type=click.Choice(["slow"]), help="Exit with 3 when the verdict is this, for use as a gate.")
def diagnose(config: Config, paths: tuple[str, ...], reader: str | None, at: str | None, symptom: str | None, graph: Path | None,
             output_format: str, fail_on: str | None) -> None:
    """Say why the recorded workload is slow.

    PATH is a file, a folder or - for standard input: profiler traces of PyTorch, or records as NDJSON. The format is found by
    looking inside.

    \b
    Example:
      pinchpoint diagnose trace.json.gz
    """
    with tempfile.TemporaryDirectory(prefix="pinchpoint-") as folder, progress("Reading and analysing"):
        inputs = ship(paths, reader, folder)
        answer = analysis("run")(folder, None, config)
    answer["inputs"] = inputs
    if output_format == "json":
        click.echo(json.dumps(answer, ensure_ascii=True, allow_nan=False, indent=2))
    else:
        click.echo(analysis("render")(answer, width=output.terminal_width(), color=sys.stdout.isatty()))
    if fail_on == answer["verdict"]:
        click.get_current_context().exit(_GATE)
    if answer["verdict"] == "not_enough_data":
        click.get_current_context().exit(1)


def analysis(name: str) -> Any:
    """A part of the analysis by its name: shipping and analysing never import each other, they meet in the store.

    Raises: PinchpointError when this installation only ships.
    """
    found = entry_points(group="pinchpoint.analysis", name=name)
    if not found:
        raise PinchpointError("this installation only ships: install the analysis with pip install 'pinchpoint[analyze]'")
    return next(iter(found)).load()
