"""The commands `sdk` and `event`."""

import socket

import click

from pinchpoint.clock import SYSTEM_CLOCK, format_time, parse_time
from pinchpoint.errors import UsageError
from pinchpoint.output import store_option

_CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=_CONTEXT)
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


@click.command(context_settings=_CONTEXT)
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
