"""The command `report`."""

from pathlib import Path

import click

from models.cli import Since
from pinchpoint import output
from pinchpoint.clock import NS, SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.output import HELP, Column, config_option, format_option, store_option

_LOST = Column("lost_gpu_hours", "LOST GPU-H")
_COUNT = Column("incidents", "INCIDENTS")
_CAUSES = (Column("cause", "CAUSE", whole=True), Column("category", "CATEGORY", whole=True), _COUNT, Column("runs", "RUNS"), _LOST,
           Column("saves_gpu_hours", "FIX GIVES BACK"))


@click.command(context_settings=HELP)
@config_option
@store_option
@format_option
@click.option("--since", type=Since(), metavar="TIME", default="7d", show_default=True, help="From this time or span before now on.")
@click.option("--until", type=Since(), metavar="TIME", help="Up to this time or span before now.  [default: now]")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a page to look at and to send instead; it needs no network.")
def report(config: Config, store: str, output_format: str, since: int, until: int | None, page: Path | None) -> None:
    """Sum up what slowdowns cost in a stretch of time, and to what.

    Lost GPU-hours count one GPU a rank. JSON has all tables, CSV the causes.

    \b
    Example:
      pinchpoint report --since 7d
      pinchpoint report --since 30d --html month.html
    """
    from models.report.period import gather
    from models.report.period_page import period_page
    from pinchpoint.store import open_store

    end = SYSTEM_CLOCK.now_ns() if until is None else until
    if page is not None:
        output.check_target("--html", page)
    found = gather(open_store(store), since, end)
    if page is not None:
        page.write_text(period_page(found, f"The last {output.seconds((end - since) / NS)}" if end - since < 2 * 86_400 * NS else
                                    f"The last {round((end - since) / NS / 86_400)} days"), "utf-8")
        click.echo(f"{page} shows what was lost; incidents: {len(found.incidents)}.", err=True)
        return
    if output_format == "json":
        click.echo(output.json_text(found.document()))
        return
    if output_format == "csv":
        output.emit(found.causes, _CAUSES, "csv")
        return
    runs = found.runs
    click.echo(f"{output.three_digits(found.lost_gpu_hours)} GPU-hours lost, incidents: {len(found.incidents)}; the fixes would give back "
               f"{output.three_digits(found.saves_gpu_hours)}. Runs: {runs['slow']} slow, {runs['healthy']} healthy, "
               f"{runs['not_enough_data']} without enough data.")
    for rows, columns in ((found.causes, _CAUSES), (found.days if found.incidents else [], _days()),
                          (found.hosts, (Column("host", "HOST"), _COUNT, Column("runs", "RUNS"), _LOST)),
                          (found.ranks, (Column("rank", "RANK OR GPU"), Column("host", "HOST"), _COUNT,
                                         Column("worst_ratio", "TIMES THE OTHERS"))),
                          (found.repeated, (Column("where", "AGAIN AND AGAIN"), Column("cause", "CAUSE"), _COUNT, _LOST)),
                          (found.workloads, (Column("workload", "WORKLOAD"), _COUNT, Column("runs", "RUNS"), _LOST))):
        if rows:
            click.echo()
            output.emit(rows, columns, "table")


def _days() -> tuple[Column, ...]:
    from pinchpoint.fields import CATEGORIES

    return (Column("day", "DAY", whole=True), _COUNT, *(Column(name, name.upper()) for name in CATEGORIES))
