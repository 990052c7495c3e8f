"""The command `doctor`."""

import collections
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pinchpoint import output
from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import default_url
from pinchpoint.doctor import settings
from pinchpoint.doctor.check import STATES, Check, Subject
from pinchpoint.doctor.examine import Look, examine, of_others, worst_first
from pinchpoint.doctor.stores import at_the_door
from pinchpoint.progress import progress

_WIDEST = 100
_INDENT = 9
_COLORS = {"fault": "red", "warning": "yellow", "unknown": "cyan", "ok": "green"}


# not the shared options: they end the command where the settings cannot be read, and that is for the doctor to say
@click.command(context_settings=output.HELP)
@click.option("--config", "config_file", metavar="FILE", type=click.Path(path_type=Path),
              help="Settings file.  [default: $PINCHPOINT_CONFIG, ./pinchpoint.toml, then that of the user]")
@click.option("--store", metavar="URL", envvar="PINCHPOINT_STORE",
              help="The store to look at: a folder, s3://… or https://….  "
                   "[default: $PINCHPOINT_STORE, the settings file, then a folder of the user]")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
def doctor(config_file: Path | None, store: str | None, output_format: str) -> int:
    """Say why nothing arrives, or what else is wrong with a store.

    Looks at the settings, the store, what this host sent to it and what came of that. Changes nothing. The exit status is 1 when
    there is a fault.

    \b
    Example:
      pinchpoint doctor --store https://es.example:9200
    """
    config, found = settings.read(config_file)
    url = store or config.store or (default_url() if found[0].state == "ok" else None)
    with progress("Looking"):
        found = worst_first([*found, *_checks(Subject(config, url, SYSTEM_CLOCK))])
    if output_format == "json":
        click.echo(output.json_text([{"name": one.name, "state": one.state, "says": one.says, "details": one.details,
                                      "next_step": one.next_step} for one in found]))
    else:
        click.echo("\n".join(lines(found, min(output.terminal_width(), _WIDEST))))
    click.echo(_summary(found), err=True)
    return int(any(one.state == "fault" for one in found))


def _checks(subject: Subject) -> list[Check]:
    if subject.store is None:
        unknown = Check("store", "unknown", "which store is meant stands in the settings.", next_step="name it: --store URL")
        return [unknown, *examine(of_others(subject))]
    knock, local = at_the_door(subject)
    behind: dict[str, Look] = {}
    # everything behind the door would say the same again where knocking fails
    found = examine({"store": lambda: knock(behind)})
    return [*found, *examine(dict(behind) | local | of_others(subject))]


def lines(checks: Sequence[Check], width: int) -> Iterator[str]:
    """Checks as people read them: state and sentence, below it details and the next step."""
    for check in checks:
        head = textwrap.wrap(output.printable(f"{check.name}: {check.says}"), width - _INDENT, break_on_hyphens=False)
        yield click.style(f"{check.state:<{_INDENT}}", fg=_COLORS[check.state]) + head[0]
        yield from (" " * _INDENT + line for line in head[1:])
        for detail in check.details:
            yield from _wrapped(detail, "- ", width)
        if check.next_step:
            yield from _wrapped(check.next_step, "→ ", width)


def _wrapped(text: str, mark: str, width: int) -> list[str]:
    return textwrap.wrap(output.printable(text), width, initial_indent=" " * _INDENT + mark, subsequent_indent=" " * (_INDENT + 2),
                         break_on_hyphens=False)


def _summary(checks: Sequence[Check]) -> str:
    """How many of what, worst first."""
    counts = collections.Counter(check.state for check in checks)
    said = [f"{counts[state]} {state}{'s' if counts[state] != 1 else ''}" for state in STATES[:2] if counts[state]]
    if counts["unknown"]:
        said.append(f"{counts['unknown']} could not be looked at")
    return ", ".join(said) + "." if said else "Everything is as it should be."
