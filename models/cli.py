"""The commands that ask: `incidents`, `explain`, `label`, `causes`."""

import sys
from pathlib import Path
from typing import Any

import click

from pinchpoint import output
from pinchpoint.clock import NS, SYSTEM_CLOCK, parse_span, parse_time
from pinchpoint.config import Config
from pinchpoint.errors import CauseFileError
from pinchpoint.fields import CATEGORIES
from pinchpoint.output import HELP, Column, config_option, format_option, store_option
from pinchpoint.store import IncidentFilter, open_store


class Since(click.ParamType[int]):
    """A time, or a span before now, as UTC ns."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """UTC ns of the time meant."""
        if isinstance(value, int):
            return value
        try:
            return parse_time(value) if value[4:5] == "-" else SYSTEM_CLOCK.now_ns() - round(parse_span(value) * NS)
        except ValueError:
            self.fail(f"expected a span such as 1h or 7d, or a time such as 2026-01-01T00:00:00Z, got {value!r}", param, ctx)


_INCIDENT_COLUMNS = (
    Column("id", "ID", whole=True),
    Column("start", "START", lambda text: str(text)[:19].replace("T", " "), whole=True),
    Column("lost_seconds", "LOST", output.seconds),
    Column("lost_share", "SHARE", output.share),
    Column("category", "CATEGORY"),
    Column("cause", "CAUSE"),
    Column("run", "RUN"),
)


@click.command(context_settings=HELP)
@config_option
@store_option
@format_option
@click.option("--category", type=click.Choice(CATEGORIES), help="Only causes of this category.")
@click.option("--cause", metavar="NAME", help="Only this cause, by name or id.")
@click.option("--host", metavar="NAME", help="Only incidents that concern this host.")
@click.option("--run", "run_id", metavar="ID", help="Only this run.")
@click.option("--since", type=Since(), metavar="TIME", help="Only what lasted beyond this time or span before now.")
@click.option("--until", type=Since(), metavar="TIME", help="Only what began before this time or span before now.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, the latest first.")
def incidents(config: Config, store: str, output_format: str, category: str | None, cause: str | None, host: str | None,
              run_id: str | None, since: int | None, until: int | None, limit: int) -> None:
    """List the incidents of a store.

    \b
    Example: what cost us time in the data path this week
      pinchpoint incidents --category data --since 7d
    """
    found = open_store(store).query_incidents(IncidentFilter(category, cause, host, run_id, since, until, limit))
    if output_format == "json":
        click.echo(output.json_text(found))
        return
    rows = [{**one, **one["symptom"], "cause": one["causes"][0]["cause"] if one["causes"] else "unexplained",
             "category": one["causes"][0]["category"] if one["causes"] else None} for one in found]
    output.emit(rows, _INCIDENT_COLUMNS, output_format)
    if not rows and output_format == "table":
        click.echo(f"No incidents in {store}. Analyse what was shipped with: pinchpoint analyze", err=True)


@click.command(context_settings=HELP)
@config_option
@store_option
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a page to look at and to send instead; it needs no network.")
@click.argument("incident_id", metavar="ID")
def explain(config: Config, store: str, output_format: str, page: Path | None, incident_id: str) -> None:
    """Show one incident: verdict, why, what to do, evidence.

    ID may be shortened as long as it stays unique.

    \b
    Example:
      pinchpoint explain 3f2a
      pinchpoint explain 3f2a --html slow.html
    """
    where = open_store(store)
    one = where.incident(incident_id)
    if page is not None:
        from models.report.writing import write_incident

        output.check_target("--html", page)
        write_incident(one, where, config, page)
        click.echo(f"{page} shows incident {one['id']}.", err=True)
        return
    if output_format == "json":
        click.echo(output.json_text(one))
        return
    from models.incident import summary
    from models.render import render_incident

    width = output.terminal_width()
    click.echo(f"{one['id']}  {one['start']} to {one['end']}  run {output.printable(one['run'])}")
    click.echo("\n".join([summary(one), "", *render_incident(one, width=min(width, 100), color=sys.stdout.isatty())]))


@click.command(context_settings=HELP)
@config_option
@store_option
@click.argument("incident_id", metavar="ID")
@click.argument("text", metavar="LABEL")
@click.option("--note", metavar="TEXT", help="What else is known.")
def label(config: Config, store: str, incident_id: str, text: str, note: str | None) -> None:
    """Write down what you found out about an incident.

    Labels are kept when the incident is analysed again.

    \b
    Example:
      pinchpoint label 3f2a confirmed --note "the new image has no zstd"
    """
    where = open_store(store)
    one = where.incident(incident_id)
    where.label(one["id"], text, note, SYSTEM_CLOCK.now_ns())
    click.echo(f"{one['id']} is labelled {text!r}.", err=True)


@click.group(context_settings=HELP)
def causes() -> None:
    """List, show and check the catalogue of causes.

    \b
    Example: check a file of your own before you name it in pinchpoint.toml
      pinchpoint causes check my-causes.toml
    """


_CAUSE_COLUMNS = (Column("id", "ID", whole=True), Column("name", "CAUSE", whole=True), Column("category", "CATEGORY", whole=True),
                  Column("summary", "WHAT IT IS"))


@causes.command("list", context_settings=HELP)
@config_option
@format_option
def list_causes(config: Config, output_format: str) -> None:
    """List all causes that are known.

    \b
    Example:
      pinchpoint causes list --format csv
    """
    from models.causes import load

    found = sorted(load(config.causes.paths).values(), key=lambda cause: (CATEGORIES.index(cause.category), cause.id))
    output.emit([{"id": one.id, "name": one.name, "category": one.category, "summary": one.summary} for one in found],
                _CAUSE_COLUMNS, output_format)


@causes.command(context_settings=HELP)
@config_option
@click.argument("name")
def show(config: Config, name: str) -> None:
    """Show one cause: what it explains, its evidence and limits, its fix and where they come from.

    \b
    Example:
      pinchpoint causes show D06
    """
    from models.causes import load
    from models.causes.show import show_cause

    found = load(config.causes.paths)
    one = found.get(name) or next((cause for cause in found.values() if cause.id.lower() == name.lower()), None)
    if one is None:
        import difflib

        near = difflib.get_close_matches(name, found, 1)
        raise click.UsageError(f"no cause {name!r}" + (f", did you mean {near[0]!r}?" if near else "; see: pinchpoint causes list"))
    click.echo("\n".join(show_cause(one, min(output.terminal_width(), 100))))


@causes.command(context_settings=HELP)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def check(paths: tuple[Path, ...]) -> None:
    """Check cause files of your own.

    \b
    Example:
      pinchpoint causes check my-causes/
    """
    from models.causes import load

    before = load()
    after = load(paths)
    new = sorted(name for name in after if name not in before or (after[name] is not before[name] and after[name] != before[name]))
    if not new:
        raise CauseFileError(f"{', '.join(map(str, paths))}: no causes in there")
    click.echo(f"{len(new)} cause{'s' if len(new) != 1 else ''} are fine: {', '.join(new)}", err=True)


