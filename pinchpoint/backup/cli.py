"""The commands `backup` and `restore`."""

from typing import Any

import click

from pinchpoint import output
from pinchpoint.backup.places import Place, open_place
from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.errors import UsageError
from pinchpoint.output import HELP, Column, config_option, format_option, store_option
from pinchpoint.progress import progress

_BACKUPS = (Column("name", "NAME", whole=True), Column("made", "MADE", lambda text: str(text)[:19].replace("T", " "), whole=True),
            Column("files", "FILES"), Column("documents", "DOCUMENTS"), Column("size_bytes", "SIZE", output.size), Column("state", "STATE"),
            Column("store", "STORE"))
_RESTORED = (Column("what", "WHAT", whole=True), Column("files", "FILES"), Column("documents", "DOCUMENTS"),
             Column("size_bytes", "SIZE", output.size), Column("state", "STATE"))


@click.command(context_settings=HELP)
@config_option
@store_option
@format_option
@click.option("--to", metavar="DEST", help="Where backups lie: a folder or s3://… for a lake; for Elasticsearch a folder that "
              "every node sees and that its path.repo allows.")
@click.option("--repository", metavar="NAME", help="In the place of --to: a snapshot repository that Elasticsearch has already.")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Delete all but the newest N afterwards.  [default: delete none]")
@click.option("--with-records", is_flag=True, help="Copy shipped records too, not only results. Lakes alone.")
@click.option("--list", "list_only", is_flag=True, help="List the backups there and make none.")
def backup(config: Config, store: str, output_format: str, to: str | None, repository: str | None, keep: int | None, with_records: bool,
           list_only: bool) -> None:
    """Copy results and settings of a store to a safe place.

    That is features, findings, incidents, causes, evidence, labels and watermarks, the templates of Elasticsearch, and the settings
    file unless there is a secret in it. Keys are never copied. The analysis may run meanwhile. A backup that was interrupted is
    finished by the next call.

    \b
    Example:
      pinchpoint backup --to /mnt/safe/pinchpoint --keep 7
      pinchpoint backup --store https://es.example:9200 --repository nightly
    """
    place = _place(store, to, repository, "--to")
    rows: list[dict[str, Any]]
    if list_only:
        rows = place.listed()
    else:
        from pinchpoint.backup.settings import content

        settings, why_not = content(config.source)
        with progress("Backing up") as advance:
            rows = [place.back_up(settings, with_records, advance)]
            gone = place.prune(keep) if keep else []
        if why_not:
            click.echo(f"Settings: {why_not}.", err=True)
        if gone:
            click.echo(f"Deleted {len(gone)} older: {', '.join(gone)}.", err=True)
    output.emit(rows, _BACKUPS, output_format)
    if not rows and output_format == "table":
        click.echo("No backups there.", err=True)


@click.command(context_settings=HELP)
@config_option
@store_option
@format_option
@click.option("--from", "source", metavar="DEST", help="Where backups lie, as --to of backup said.")
@click.option("--repository", metavar="NAME", help="A snapshot repository of Elasticsearch, in the place of --from.")
@click.option("--backup", "name", metavar="NAME", help="Which one, see backup --list.  [default: the newest that was finished]")
@click.option("--replace", is_flag=True, help="Give up results that are there and are not in the backup.")
@click.option("--dry-run", is_flag=True, help="Check the backup and say what would be restored.")
def restore(config: Config, store: str, output_format: str, source: str | None, repository: str | None, name: str | None, replace: bool,
            dry_run: bool) -> None:
    """Put the results of a backup back into a store.

    Everything is checked before anything is written. Other results in the store are left alone, unless --replace gives them up. One
    that was interrupted is finished by calling it again.

    \b
    Example:
      pinchpoint restore --from /mnt/safe/pinchpoint --dry-run
    """
    place = _place(store, source, repository, "--from")
    with progress("Checking" if dry_run else "Restoring") as advance:
        rows, settings = place.restore(name, replace, dry_run, advance)
    output.emit(rows, _RESTORED, output_format)
    if settings is not None and not dry_run:
        from pinchpoint.backup.settings import put_back

        click.echo(f"{put_back(settings, config.source)}.", err=True)
    if dry_run:
        click.echo("Nothing was written.", err=True)


def _place(store: str, folder: str | None, repository: str | None, option: str) -> Place:
    if (folder is None) == (repository is None):
        raise UsageError(f"say where backups lie: {option} DEST, or --repository NAME for Elasticsearch")
    return open_place(store, folder, repository, SYSTEM_CLOCK)
