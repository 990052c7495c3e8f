"""The command that prepares servers: `setup`."""

from pathlib import Path
from typing import Any

import click

from pinchpoint import output
from pinchpoint.config import Config
from pinchpoint.errors import UsageError
from pinchpoint.kibana.cli import kibana
from pinchpoint.output import HELP, Column, Span, config_option, store_option

_ROLES = ("shipper", "analysis", "reader")
_COLUMNS = (Column("what", "WHAT"), Column("name", "NAME", whole=True), Column("change", "CHANGE"))


class Roles(click.ParamType[tuple[str, ...]]):
    """Roles with commas between them; none for none."""

    name = "roles"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The roles meant."""
        if isinstance(value, tuple):
            return value
        wanted = () if value == "none" else tuple(dict.fromkeys(part.strip() for part in value.split(",")))
        for role in wanted:
            if role not in _ROLES:
                self.fail(f"expected some of {', '.join(_ROLES)} with commas between them, or none; got {role!r}", param, ctx)
        return wanted


@click.group(context_settings=HELP)
def setup() -> None:
    """Prepare the services that pinchpoint works with.

    \b
    Example:
      pinchpoint setup elasticsearch --store https://es:9200 --dry-run
      pinchpoint setup kibana --url https://kibana:5601
    """


setup.add_command(kibana)


@setup.command(context_settings=HELP)
@config_option
@store_option
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="How to print the answer.")
@click.option("--dry-run", is_flag=True, help="Print each request and send none that writes.")
@click.option("--keys", "roles", type=Roles(), metavar="ROLE,…", default=",".join(_ROLES), show_default=True,
              help="Whose API keys to make where there are none; none for no keys.")
@click.option("--key-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write each key into a file of this folder that only you can read, instead of showing it.")
@click.option("--rotate", is_flag=True, help="Make the keys anew and end those that are there.")
@click.option("--expire", type=Span(least_s=1), metavar="SPAN", help="How long new keys are valid, such as 90d.  [default: for ever]")
def elasticsearch(config: Config, store: str, output_format: str, dry_run: bool, roles: tuple[str, ...], key_dir: Path | None,
                  rotate: bool, expire: float | None) -> None:
    """Install templates, indices and API keys in Elasticsearch.

    Safe to repeat: what is as it should be stays untouched. Needs a user who may manage index templates and API keys;
    its password is read from a file, never from the command line. The keys:

    \b
      shipper   creates documents in the streams, and can do nothing else
      analysis  reads the streams and index=… of the store, writes results
      reader    reads results, writes labels

    \b
    Example: look first, then do it and keep the keys in files
      export PINCHPOINT_ES_USERNAME=elastic PINCHPOINT_ES_PASSWORD_FILE=pw
      export PINCHPOINT_ES_CA_FILE=ca.crt
      pinchpoint setup elasticsearch --store https://es:9200 --dry-run
      pinchpoint setup elasticsearch --store https://es:9200 --key-dir keys
    """
    from pinchpoint.store.es import setup as es
    from pinchpoint.store.es.address import Access, Address
    from pinchpoint.store.es.door import Door
    from pinchpoint.store.es.steps import send
    from pinchpoint.store.es.templates import retention

    if not store.startswith(("http://", "https://")):
        raise UsageError(f"{store!r} is no Elasticsearch: name one, such as --store https://es.example:9200")
    address = Address.parse(store)
    door = Door(address.server, Access.read(config.elasticsearch))
    plan = es.plan(door, es.Wanted(address, config.retention.days, roles, rotate, retention(expire / 86400) if expire else None))
    if dry_run:
        _show_requests(plan, output_format)
        return
    rows: list[dict[str, Any]] = []
    keys: list[dict[str, Any]] = []
    try:
        for step in plan.steps:
            send(door, step)
            rows.append({"what": step.what, "name": step.name, "change": step.change})
        for role, step in plan.creations.items():
            if key_dir is None:
                made = es.make_key(door, role, step)
                keys.append({"role": role, "name": made.name, "api_key": made.secret})
            else:
                keys.append({"role": role, "name": step.name, "file": str(es.make_key_file(door, role, step, key_dir))})
    finally:
        # also when the next request fails: no server tells a key twice
        _show(rows, keys, output_format)
    for step in plan.endings():
        send(door, step)
        click.echo(f"The former {step.name} is no longer valid.", err=True)
    for note in plan.notes:
        click.echo(note, err=True)
    if not rows and not keys and not plan.notes:
        click.echo(f"{address} is as it should be.", err=True)


def _show_requests(plan: Any, output_format: str) -> None:
    from pinchpoint.store.es.setup import as_console, as_json

    steps = list(plan.requests())
    if output_format == "json":
        click.echo(output.json_text([as_json(step) for step in steps]))
    elif steps:
        click.echo("\n\n".join(as_console(step) for step in steps))
    for note in [*plan.notes, *([] if steps else ["Nothing to do."])]:
        click.echo(note, err=True)


def _show(rows: list[dict[str, Any]], keys: list[dict[str, Any]], output_format: str) -> None:
    if output_format == "json":
        click.echo(output.json_text({"changes": rows, "keys": keys}))
        return
    output.emit(rows, _COLUMNS, output_format)
    if not keys:
        return
    click.echo(("\n" if rows else "") + "API keys" + ("" if "file" in keys[0] else ", shown this once:"))
    for key in keys:
        click.echo(f"  {key['role']:<9} {key.get('file') or key['api_key']}")
    click.echo("Name the file of a key in PINCHPOINT_ES_API_KEY_FILE, or as api_key_file under\n[elasticsearch] in pinchpoint.toml.",
               err=True)
