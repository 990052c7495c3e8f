"""The command `watch`."""

import contextlib
import datetime
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pinchpoint.clock import SYSTEM_CLOCK
from pinchpoint.config import Config, default_url
from pinchpoint.errors import PinchpointError
from pinchpoint.output import HELP, check_target, config_option, store_option
from shippers.watch.child import CannotStartError
from shippers.watch.sdk_folder import hooks_folder, sdk_folder
from shippers.watch.session import Outcome, Session, child_environment
from shippers.watch.signals import die_by
from shippers.watch.spool import WATCH_FILE, RecordWriter, Spool, spool_parent

if TYPE_CHECKING:
    from shippers.live.beside import LiveView

_SCRIPT = re.compile(r"(?:.*/)?([^/]+)\.(?:py|sh)")


@click.command(context_settings=HELP | {"allow_interspersed_args": False})
@config_option
@store_option
@click.option("--workload", metavar="NAME", help="What runs of the same thing share.  [default: the name of the script]")
@click.option("--run", "run_id", metavar="ID", help="Name of this run; the same on every host of one run.  [default: made up]")
@click.option("--verdict", "verdict_file", metavar="FILE",
              help="Write the verdict as JSON too; - is stdout, after the command's output.")
@click.option("--report", "page", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the verdict as a page to look at and to send, too.")
@click.option("--live", is_flag=True, help="Show phases, ranks, GPUs and suspicion on the terminal while it runs; the end of what the "
              "command printed there follows when it is over.")
@click.option("--no-instrument", is_flag=True, help="Lay no hooks into Python: steps come from the SDK or progress lines alone.")
@click.option("--no-verdict", is_flag=True, help="Keep the records, leave the analysis to `pinchpoint analyze`.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
def watch(config: Config, store: str, workload: str | None, run_id: str | None, verdict_file: str | None, page: Path | None,
          live: bool, no_instrument: bool, no_verdict: bool, command: tuple[str, ...]) -> None:
    """Run a command and say at its end why it was slow.

    COMMAND runs as it would without this: with the same input, output, terminal and signals, and watch ends with its exit
    status. The verdict goes to stderr. Steps and phases come from the SDK where the script uses it, else from hooks into PyTorch,
    JAX, the Hugging Face Trainer, Lightning and Keras, else steps from progress lines (tqdm, `step 120 … 0.31 s/it`).

    \b
    Example:
      pinchpoint watch -- python train.py --epochs 3
    The verdict as JSON, for a program:
      pinchpoint watch --verdict verdict.json -- torchrun train.py
    Look on while it runs:
      pinchpoint watch --live -- python train.py
    """
    if verdict_file and verdict_file != "-":
        check_target("--verdict", Path(verdict_file))
    if page is not None:
        check_target("--report", page)
    workload = workload or workload_of(command)
    run_id = run_id or f"{workload}-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    spool = Spool.create(spool_parent(store), run_id)
    with contextlib.closing(spool):
        try:
            session = _start(command, spool, run_id, workload, config, live, hooked=not no_instrument)
        except CannotStartError as error:
            spool.discard()
            _say(str(error))
            click.get_current_context().exit(error.exit_status)
        outcome = session.run()
        try:
            session.close()
            _conclude(config, store, spool, run_id, outcome, None if no_verdict else verdict_file or "", page)
        except KeyboardInterrupt:
            _say(f"the analysis was interrupted. {_how_to_see(store, run_id)}")
        except Exception as error:  # whatever fails from here on, watch must end as the command did
            _say(f"the analysis failed: {_reason(error)}\n{_how_to_see(store, run_id)}")
    _end_like(outcome)


def workload_of(command: Sequence[str]) -> str:
    """The name of what a command runs: that of its script or module, else of its program.

    >>> workload_of(["torchrun", "--nproc-per-node", "2", "src/train.py"]), workload_of(["python", "-m", "pkg.train"])
    ('train', 'pkg.train')
    """
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if script := _SCRIPT.fullmatch(word):
            return script[1]
        if word == "-m" and following:
            return following
    return Path(command[0]).name


def _start(command: Sequence[str], spool: Spool, run_id: str, workload: str, config: Config, live: bool, *,
           hooked: bool) -> Session:
    host = socket.gethostname()
    common = {"run.id": run_id, "run.workload": workload, "host.name": host}
    writer = RecordWriter(spool.folder / WATCH_FILE, common, f"{run_id}-{secrets.token_hex(4)}")
    sdk = sdk_folder()
    environment = child_environment(os.environ, folder=spool.folder, run_id=run_id, workload=workload,
                                    path=[sdk, hooks_folder(sdk)] if hooked else [sdk])
    gpus = None
    if config.ship.gpu is not None:
        from shippers.gpu.keeper import Pace
        from shippers.gpu.source import GpuSource

        gpus = GpuSource(host, SYSTEM_CLOCK, Pace(config.ship.gpu.interval_s, config.ship.gpu.slow_interval_s))
    view = _live_view(spool, run_id, config) if live else None
    try:
        return Session(command, environment, writer, host, SYSTEM_CLOCK, config.watch.interval_s, gpus, view)
    except BaseException:
        if view is not None:
            view.close()
        raise


def _live_view(spool: Spool, run_id: str, config: Config) -> "LiveView | None":
    """The view on our terminal; None, and a word, where there is none."""
    screen = next((stream.fileno() for stream in (sys.stdout, sys.stderr) if stream is not None and stream.isatty()), None)
    if screen is None:
        _say("--live needs a terminal, and neither stdout nor stderr is one: the command runs without it")
        return None
    from shippers.live.beside import LiveView

    return LiveView(screen, spool.folder, run_id, config)


def _conclude(config: Config, store_url: str, spool: Spool, run_id: str, outcome: Outcome, verdict_file: str | None,
              page: Path | None) -> None:
    """Bring the records of the run into the store, analyse it, and print the verdict.

    Args:
        config: settings.
        store_url: where the records go.
        spool: where they wait.
        run_id: the run.
        outcome: how the command ended.
        verdict_file: where the verdict goes as JSON; empty for nowhere, None to leave the analysis out.
        page: where it goes as a page; None for nowhere.
    """
    # From here on weight does not matter: the command has ended.
    from pinchpoint.store import open_store
    from shippers.diagnose import analysis
    from shippers.watch.collect import bring_in, recover

    if outcome.still_running:
        _say(f"still running: {_count(outcome.still_running, 'process', 'processes')} of the command. "
             "What they write to this output is lost from now on.")
    if outcome.records_lost:
        _say(f"{_count(outcome.records_lost, 'record', 'records')} could not be written to {spool.folder}. Is the disk full?")
    store = open_store(store_url)
    recover(store)
    imported = bring_in(store, spool)
    for reason in imported.unreadable:
        _say(f"part of the records is missing: {reason}")
    if verdict_file is None:
        _say(_how_to_see(store_url, run_id))
        return
    verdict = analysis("run")(store_url, run_id, config)
    verdict["inputs"] = [{"path": store_url, "reader": "watch", "records": imported.records, "rejected": imported.rejected,
                          "notes": imported.unreadable}]
    _print(analysis("render")(verdict, width=shutil.get_terminal_size().columns, color=_has_colour()))
    if verdict_file:
        text = json.dumps(verdict, indent=2, allow_nan=False) + "\n"
        if verdict_file == "-":
            click.echo(text, nl=False)
        else:
            Path(verdict_file).write_text(text, encoding="utf-8")
    if page is not None:
        analysis("page")(verdict, store_url, config, page)
        _say(f"{page} shows the verdict.")


def _end_like(outcome: Outcome) -> None:
    """End as the command ended: with its exit status, or by the signal that ended it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, gone, or never there
            stream.flush()
    if outcome.exit_status < 0:
        die_by(-outcome.exit_status)
    click.get_current_context().exit(outcome.exit_status)


def _reason(error: Exception) -> str:
    if os.environ.get("PINCHPOINT_DEBUG"):
        return "".join(traceback.format_exception(error))
    return str(error) if isinstance(error, PinchpointError) else f"{type(error).__name__}: {error}"


def _how_to_see(store_url: str, run_id: str) -> str:
    store = "" if store_url == default_url() else f" --store {shlex.quote(store_url)}"
    return (f"The records of the run are kept. Analyse them with `pinchpoint analyze{store}`, then see "
            f"`pinchpoint incidents --run {shlex.quote(run_id)}{store}`.")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _say(message: str) -> None:
    _print(f"pinchpoint: {message}")


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever read stderr has gone, which must not change how we end
        click.echo(text, err=True)


def _has_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
