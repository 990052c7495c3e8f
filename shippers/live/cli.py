"""The command `top`."""

import select
import sys

import click

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config
from pinchpoint.output import HELP, Span, config_option, store_option


@click.command(context_settings=HELP)
@config_option
@store_option
@click.option("--run", "run_id", metavar="ID", help="The run.  [default: the one watched now, else the newest of the store]")
@click.option("--every", type=Span(0.2), default="2s", show_default=True, metavar="SPAN", help="Time between two looks.")
@click.option("--once", is_flag=True, help="Print what is seen now, then end.")
def top(config: Config, store: str, run_id: str | None, every: float, once: bool) -> None:
    """Show a run while it goes on: phases, ranks, GPUs, host and suspicion.

    Follows a run that `pinchpoint watch` has begun on this machine, or one that others ship into the store. q or ^C ends it,
    and never the run. Without a screen (a pipe, TERM=dumb) it prints a line now and then; NO_COLOR turns colours off.

    \b
    Example:
      pinchpoint top
    A run of a cluster, in the store that its hosts ship to:
      pinchpoint top --run resnet-7 --store https://es.example:9200
    """
    from shippers.live.screen import Page, draw
    from shippers.live.sources import open_source
    from shippers.live.terminal import screen_of
    from shippers.live.view import PLAIN_EVERY_S, View, stand_back

    stand_back()
    view = View(open_source(store, run_id, SYSTEM_CLOCK), config, SYSTEM_CLOCK, every)
    if once:
        from pinchpoint.output import terminal_width

        view.look()
        for line in draw(view.picture, (), Page(terminal_width(), 60)):
            if line.plain.strip():
                click.echo(line.plain.rstrip())
        return
    keys = sys.stdin.fileno()
    with screen_of(keys) as screen:
        if screen is not None:
            view.run(screen, "q ends this view, not the run")
            return
    while True:
        click.echo(view.line())
        select.select([], [], [], max(every, PLAIN_EVERY_S))
