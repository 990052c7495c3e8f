"""The commands `sdk`, `event` and `ship`."""

import contextlib
import dataclasses
import os
import socket
import sys
from pathlib import Path

import click

from pinchpoint import config as settings
from pinchpoint.clock import SYSTEM_CLOCK, format_time, parse_time
from pinchpoint.errors import UsageError
from pinchpoint.output import HELP, config_option, store_option
from pinchpoint.ship_settings import Files


@click.command(context_settings=HELP)
def sdk() -> None:
    """Print the folder that brings the SDK to training code.

    The folder holds the package `pinchpoint` and nothing else, so nothing else of this installation enters the training
    environment. `pinchpoint watch` sets it by itself.

    \b
    Example:
      PYTHONPATH=$(pinchpoint sdk) python train.py
    """
    from shippers.watch.sdk_folder import sdk_folder

    click.echo(sdk_folder())


@click.command(context_settings=HELP)
@store_option
@click.argument("action")
@click.argument("details", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reason", metavar="TEXT", help="Why it happened.")
@click.option("--run", "run_id", metavar="ID", help="The run it happened to.  [default: the world]")
@click.option("--host", metavar="NAME", help="The host it happened on; . is this one.  [default: the world]")
@click.option("--at", metavar="TIME", help="When, as 2026-01-01T12:00:00Z.  [default: now]")
def event(store: str, action: str, details: tuple[str, ...], reason: str | None, run_id: str | None, host: str | None,
          at: str | None) -> None:
    """Record that something changed in the world.

    ACTION is what happened: deploy, config, restart, preempt, scale, data_quality or a word of your own. An incident that
    begins at the same time names it. The identity of the record is printed.

    \b
    Example:
      pinchpoint event deploy --reason "new image" service=trainer version=1.4
    """
    labels = [_detail(text) for text in details]
    if not action.strip():
        raise UsageError("an event needs a word for what happened, such as deploy")
    try:
        time_ns = SYSTEM_CLOCK.now_ns() if at is None else parse_time(at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from error
    from pinchpoint import records
    from pinchpoint.store import open_store

    host = socket.gethostname() if host == "." else host
    identity = records.content_id("event", action, reason, run_id, host, time_ns, sorted(labels))
    batch = records.batch("event", {
        "@timestamp": [time_ns], "event.id": [identity], "run.id": [run_id], "event.action": [action], "event.reason": [reason],
        "host.name": [host], "labels": [labels]})
    opened = open_store(store)
    opened.append("event", batch, f"event-{identity}")
    click.echo(identity)
    click.echo(f"Recorded {action} at {format_time(time_ns)} in {opened.url}", err=True)


def _detail(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"expected KEY=VALUE, got {text!r}. A reason of several words goes in quotes: --reason \"new image\"")
    return key, value


@click.command(context_settings=HELP)
@config_option
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--store", "stores", metavar="URL", multiple=True, envvar="PINCHPOINT_STORE",
              help="Where to: https://host:9200, a folder or s3://…; several times for several outputs.  "
                   "[default: outputs under [ship] in the settings file, else its store]")
@click.option("--state-dir", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), envvar="PINCHPOINT_STATE_DIR",
              help="Where progress is kept.  [default: /var/lib/pinchpoint for root, else $XDG_STATE_HOME/pinchpoint]")
@click.option("--once", is_flag=True, help="Ship what is there, then end; exit status 1 when something is left.")
@click.option("--dry-run", is_flag=True, help="Print the documents that would be sent; nothing is sent and no progress is made.")
@click.option("--check-config", is_flag=True, help="Say what is wrong with the settings, then end.")
def ship(config: settings.Config, paths: tuple[str, ...], stores: tuple[str, ...], state_dir: Path | None, once: bool, dry_run: bool,
         check_config: bool) -> None:
    """Ship logs, metrics, traces and events of this host to a store.

    Runs until it is stopped. What to read stands under [ship] in the settings file; PATHs are log files and globs beside
    those. SIGHUP reads the settings anew, SIGTERM delivers what is there and ends. Whatever happens, each line arrives once.

    \b
    Example:
      pinchpoint ship --store https://es.example:9200 '/var/log/train/*.log'
    See what would be sent:
      pinchpoint ship --dry-run train.log
    """
    if once + dry_run + check_config > 1:
        raise UsageError("expected one of --once, --dry-run and --check-config")
    from shippers import state, works

    folder = state_dir or state.default_folder()
    source = config.source

    def complete(loaded: settings.Config) -> tuple[settings.Config, list[str]]:
        files = loaded.ship.files + ((Files(tuple(paths)),) if paths else ())
        loaded = dataclasses.replace(loaded, ship=dataclasses.replace(loaded.ship, files=files))
        works.file_sets(loaded.ship)
        return loaded, works.urls_of(loaded, stores, settings.default_url)

    config, urls = complete(config)
    if check_config:
        against = works.check(config, urls, SYSTEM_CLOCK)
        for why in against:
            click.echo(why)
        click.echo("The settings are good." if not against else f"{len(against)} of them may need a look.", err=True)
        click.get_current_context().exit(1 if against else 0)
    if dry_run:
        from shippers.once import show

        click.get_current_context().exit(show(config, urls, folder, SYSTEM_CLOCK, _say, sys.stdout.buffer))
    lock = state.lock(folder)
    try:
        if once:
            from shippers.once import ship_once

            status = ship_once(config, urls, folder, SYSTEM_CLOCK, _say)
        else:
            from shippers.agent import Agent

            status = Agent(lambda: complete(settings.load(source)), folder, SYSTEM_CLOCK, _say).run()
    except OSError as error:
        raise UsageError(f"cannot use the state folder {folder}: {error.strerror or error}. Name another with --state-dir") from error
    finally:
        os.close(lock)
    click.get_current_context().exit(status)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # whoever read stderr has gone; the agent goes on
        click.echo(f"pinchpoint: {message}", err=True)
