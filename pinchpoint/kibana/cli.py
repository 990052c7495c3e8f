"""The command that brings dashboards to Kibana: `setup kibana`."""

import os

import click

from pinchpoint import output
from pinchpoint.config import Config
from pinchpoint.errors import StoreError, UsageError
from pinchpoint.output import HELP, Column, config_option

_COLUMNS = (Column("what", "WHAT"), Column("name", "NAME"), Column("change", "CHANGE"))
_PLANNED = (Column("what", "WHAT"), Column("id", "ID", whole=True), Column("name", "NAME"))


@click.command(context_settings=HELP)
@config_option
@click.option("--url", metavar="URL", help="Address of Kibana, with its base path.  [default: $PINCHPOINT_KIBANA_URL]")
@click.option("--space", default="default", show_default=True, metavar="SPACE", help="The space to bring them into.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
@click.option("--dry-run", is_flag=True, help="List what would be imported; nothing is sent that writes.")
def kibana(config: Config, url: str | None, space: str, output_format: str, dry_run: bool) -> None:
    """Bring data views and dashboards to Kibana 8.17 or later.

    Safe to repeat: what is there is replaced by what this version brings, under
    the same ids. Who asks is told by the environment, never by the command line:
    PINCHPOINT_KIBANA_API_KEY_FILE, or …_USERNAME and …_PASSWORD_FILE, and
    …_CA_FILE; without them what is set for Elasticsearch counts.

    \b
    Example:
      export PINCHPOINT_KIBANA_API_KEY_FILE=kibana.key
      pinchpoint setup kibana --url https://kibana:5601 --dry-run
      pinchpoint setup kibana --url https://kibana:5601 --space ml
    """
    from pinchpoint.kibana import importing
    from pinchpoint.store.es.address import Access

    url = url or os.environ.get(f"{importing.PREFIX}URL")
    if not url:
        raise UsageError("no Kibana: name one, such as --url https://kibana.example:5601")
    place = importing.Place.parse(url, space)
    objects = importing.saved_objects()
    server = importing.Kibana(place, importing.access(fallback=Access.read(config.elasticsearch)))
    version = server.version()
    there = server.there(objects)
    if dry_run:
        output.emit(importing.listing(objects), _PLANNED, output_format)
        click.echo(f"{place} is Kibana {version} and has {len(there)} of them. Nothing was sent that writes.", err=True)
        return
    rows, failures = importing.outcome(server.bring(objects), objects, there)
    output.emit(rows, _COLUMNS, output_format)
    for sentence in failures:
        click.echo(sentence, err=True)
    if failures:
        raise StoreError(f"{len(failures)} of {len(rows)} objects could not be brought to {place}. Mend what is said above and "
                         "run the same again")
    click.echo(f"Open {place}/app/dashboards and choose [pinchpoint] Incidents.", err=True)
