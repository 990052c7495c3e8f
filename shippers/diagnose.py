"""The command `diagnose`: recorded inputs into a store of their own, and the analysis over it."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pinchpoint import output
from pinchpoint.clock import SYSTEM_CLOCK, format_time
from pinchpoint.config import Config
from pinchpoint.errors import InputError, PinchpointError, UsageError
from pinchpoint.output import HELP, config_option
from pinchpoint.progress import progress
from shippers import following
from shippers.following import grown_from_stdin
from shippers.recorded import Recorded, recorded

if TYPE_CHECKING:
    from shippers.formats.base import Reading

_GATE = 3


@click.command(context_settings=HELP)
@config_option
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--reader", metavar="NAME", help="Read the inputs as this format instead of looking inside.")
@click.option("--at", metavar="TIME", help="When somebody noticed; the onset may lie before.")
@click.option("--symptom", metavar="ENTITY/METRIC", help="What somebody noticed.")
@click.option("--graph", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Who depends on whom, as JSON.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
@click.option("--rejected", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Keep what could not be read, each with the reason, in this file.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the answer as a page to look at and to send, too.")
@click.option("--follow", is_flag=True, help="Look again when the inputs have grown, and say when the answer changes; until interrupted.")
@click.option("--every", type=output.Span(1.0), default="10s", show_default=True, metavar="SPAN",
              help="With --follow: look at most so often.")
@click.option("--fail-on", type=click.Choice(["slow"]), help="Exit with 3 when the verdict is this, for use as a gate; with --follow as "
              "soon as it is.")
def diagnose(config: Config, paths: tuple[str, ...], reader: str | None, at: str | None, symptom: str | None, graph: Path | None,
             output_format: str, rejected: Path | None, page: Path | None, follow: bool, every: float, fail_on: str | None) -> None:
    """Say why the recorded workload is slow.

    PATH is a file, a folder or - for standard input: profiler traces of PyTorch and JAX; event files of TensorBoard; runs of MLflow;
    databases of eBPF tracers of CUDA; dumps of PyTorch's NCCL flight recorder, one for each rank; logs of NCCL_DEBUG;
    kernel logs (dmesg, journalctl -k, syslog); output of nvidia-smi (-q, -q -x, --query-gpu as CSV, dmon, pmon); reports of
    nvidia-bug-report.sh; lists of ps; logs of trainers that print the time of a step; MLPerf training logs and MLPerf Storage folders;
    tables and timelines of operations of pipeline-parallel jobs; or records as NDJSON. The format is found by looking inside.

    \b
    Example:
      pinchpoint diagnose trace.json.gz
      dmesg -T | pinchpoint diagnose -
      pinchpoint diagnose nccl_trace_rank_*
    A log that is still being written:
      pinchpoint diagnose --follow train.log
    """
    if page is not None:
        output.check_target("--html", page)
    if symptom is not None or graph is not None:
        click.echo("--symptom and --graph concern services; runs are asked about their step time.", err=True)

    rejected_before = rejected.stat().st_size if rejected is not None and rejected.exists() else 0

    def look(files: tuple[str, ...]) -> dict[str, Any]:
        if rejected is not None and rejected.exists():
            os.truncate(rejected, rejected_before)  # the look before has set the same items aside
        with recorded() as store:
            inputs, _ = ship(files, reader, store, rejected)
            answer: dict[str, Any] = analysis("run")(store.url, None, config)
            answer["inputs"] = inputs
            if page is not None:
                analysis("page")(answer, store.url, config, page)
        if at is not None:
            answer["incidents"].sort(key=lambda one: not one["start"] <= at <= one["end"])
        return answer

    if follow:
        answer = _followed(paths, look, every, output_format, fail_on)
    else:
        with progress("Reading and analysing"):
            answer = look(paths)
        _say_what_was_empty(answer)
        _print(answer, output_format)
    if fail_on == answer["verdict"]:
        click.get_current_context().exit(_GATE)
    if answer["verdict"] == "not_enough_data":
        click.get_current_context().exit(1)


def _followed(paths: tuple[str, ...], look: Callable[[tuple[str, ...]], dict[str, Any]], every_s: float, output_format: str,
              fail_on: str | None) -> dict[str, Any]:
    """The last answer about inputs that grow; each that says something new is printed, of the others a line on the terminal."""
    last: dict[str, Any] = {"verdict": "not_enough_data"}

    def tell(answer: dict[str, Any], is_new: bool) -> bool:
        nonlocal last
        last = answer
        if is_new and output_format == "json":
            click.echo(json.dumps(answer, ensure_ascii=True, allow_nan=False))
        elif is_new:
            click.echo(f"── {format_time(SYSTEM_CLOCK.now_ns())[:19].replace('T', ' ')} UTC ──")
            _print(answer, output_format)
        elif sys.stderr.isatty():
            word, steps = answer["verdict"].replace("_", " "), answer["observed"]["steps"]
            click.echo(f"{format_time(SYSTEM_CLOCK.now_ns())[11:19]} {word}: {steps} steps", err=True)
        return bool(answer["verdict"] == fail_on)

    with grown_from_stdin(paths) as (files, ended):
        for path in files:
            if not Path(path).exists():
                raise UsageError(f"{path}: no such file or folder")
        try:
            return following.follow(files, lambda: look(files), tell, every_s, SYSTEM_CLOCK, ended)
        except KeyboardInterrupt:  # how following ends
            return last


def _say_what_was_empty(answer: dict[str, Any]) -> None:
    for one in answer["inputs"]:
        if not one["records"]:
            click.echo(f"{output.printable(one['path'])}: {' '.join(map(output.printable, one['notes'])) or 'no records in it'}", err=True)


def _print(answer: dict[str, Any], output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps(answer, ensure_ascii=True, allow_nan=False, indent=2))
    else:
        click.echo(analysis("render")(answer, width=output.terminal_width(), color=sys.stdout.isatty()))


def analysis(name: str) -> Any:
    """A part of the analysis by its name: shipping and analysing never import each other, they meet in the store.

    Raises: PinchpointError when this installation only ships.
    """
    found = entry_points(group="pinchpoint.analysis", name=name)
    if not found:
        raise PinchpointError("this installation only ships: install the analysis with pip install 'pinchpoint[analyze]'")
    return next(iter(found)).load()


def ship(paths: tuple[str, ...], reader: str | None, store: Recorded, rejected: Path | None,
         ) -> tuple[list[dict[str, Any]], "list[Reading]"]:
    """Bring inputs into a store; says of each file what was read of it, and of one that cannot be read why. Beside it those that were read.

    Args:
        paths: files, folders, `-`.
        reader: name of their format; None looks inside.
        store: where the records go.
        rejected: where items that cannot be read are set aside; None only counts them.
    Returns: of each file what was read of it, and of one that cannot be read why; and what profilers say of operations.
    """
    from shippers.formats import open_input
    from shippers.formats.trace_ranks import in_line

    inputs: list[dict[str, Any]] = []
    held, readings = [], []
    for number, (shown, file) in enumerate(_files(paths)):
        reading = None
        try:
            reading = open_input(file, reader, rejected)
            for place, (kind, batch) in enumerate(reading):
                segment = f"input-{number}-{place}"
                if reading.meetings:
                    # its clock may be another one than that of the other ranks
                    held.append((segment, (kind, batch), reading.meetings[-1]))
                else:
                    store.append(kind, batch, segment)
        except InputError as error:
            # one bad file among many must not keep the answer from the others; without any other there is none
            note = str(error).removeprefix(f"{file}: ")
            inputs.append({"path": shown, "reader": reading.reader if reading else None, "records": 0, "rejected": 0, "notes": [note]})
            continue
        readings.append(reading)
        inputs.append({"path": shown, "reader": reading.reader, "records": reading.records, "rejected": reading.rejected,
                       "notes": reading.notes})
    notes: list[str] = []
    for segment, (kind, batch) in in_line(held, notes):
        store.append(kind, batch, segment)
    if notes:
        inputs[-1]["notes"] += notes
    return inputs, readings


def _files(paths: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every file meant, with the name it is shown under: those of folders too, standard input by way of a temporary file."""
    for text in paths:
        path = Path(text)
        if text == "-":
            with tempfile.NamedTemporaryFile(prefix="pinchpoint-") as spooled:
                shutil.copyfileobj(sys.stdin.buffer, spooled)
                spooled.flush()
                yield "-", Path(spooled.name)
        elif path.is_dir():
            from shippers.formats.catalogue import is_part

            found = sorted(one for one in path.rglob("*") if one.is_file() and not is_part(one))
            if not found:
                raise InputError(f"{path}: an empty folder")
            yield from ((str(one), one) for one in found)
        elif path.exists():
            yield text, path
        else:
            raise UsageError(f"{text}: no such file or folder")
