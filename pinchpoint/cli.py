"""The `pinchpoint` command, assembled from entry points that are loaded when they are called."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import click

import pinchpoint
from pinchpoint.errors import PinchpointError
from pinchpoint.human import printable
from pinchpoint.output import HELP

#: What the root help says of each command. Asking the commands themselves would import every part of pinchpoint: seconds.
#: A test holds these lines against the docstrings.
SHORT_HELPS = {
    "analyze": "Find slowdowns and their causes in the records of a store.",
    "backup": "Copy results and settings of a store to a safe place.",
    "causes": "List, show and check the catalogue of causes.",
    "compare": "Say what changed from run A to run B.",
    "diagnose": "Say why the recorded workload is slow.",
    "doctor": "Say why nothing arrives, or what else is wrong with a store.",
    "event": "Record that something changed in the world.",
    "explain": "Show one incident: verdict, why, what to do, evidence.",
    "incidents": "List the incidents of a store.",
    "label": "Write down what you found out about an incident.",
    "report": "Sum up what slowdowns cost in a stretch of time, and to what.",
    "restore": "Put the results of a backup back into a store.",
    "sdk": "Print the folder that brings the SDK to training code.",
    "setup": "Prepare the services that pinchpoint works with.",
    "ship": "Ship logs, metrics, traces and events of this host to a store.",
    "top": "Show a run while it goes on: phases, ranks, GPUs, host and suspicion.",
    "watch": "Run a command and say at its end why it was slow.",
}

#: The extra that brings a module which some installations go without.
_EXTRAS = {
    "apache_beam": "analyze",
    "msgspec": "ship",
    "numpy": "analyze",
    "pandas": "analyze",
    "pyarrow": "analyze",
    "pynvml": "ship",
    "scipy": "analyze",
    "sklearn": "analyze",
}

#: A shell that completes a command line asks through this variable.
_COMPLETE = "_PINCHPOINT_COMPLETE"

_INTERRUPTED = 130
_READER_LEFT = 141


class EntryPointGroup(click.Group):
    """A group whose commands are the entry points `pinchpoint.commands` of this distribution."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted(_entry_points().names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None when there is none.

        Raises: PinchpointError when another package took the name of one of ours.
        """
        entries = _entry_points()
        if cmd_name not in entries.names:
            return None
        for package in sorted({entry.module.partition(".")[0] for entry in entries}):
            check_package(package)
        command = entries[cmd_name].load()
        if not isinstance(command, click.Command):
            raise TypeError(f"{entries[cmd_name].value} is no command")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown name is answered with the nearest one."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            raise click.UsageError(f"No such command {printable(name)!r}." + (f" Did you mean {near[0]!r}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SHORT_HELPS.get(name, "")) for name in self.list_commands(ctx)])


def _entry_points() -> importlib.metadata.EntryPoints:
    try:
        ours = importlib.metadata.distribution("pinchpoint").entry_points
    except importlib.metadata.PackageNotFoundError as error:
        raise PinchpointError("pinchpoint is not installed in this environment.\nInstall it with `make setup`.") from error
    return ours.select(group="pinchpoint.commands")


def check_package(package: str) -> None:
    """Make sure that a top-level package is the one that was installed with pinchpoint.

    Raises: PinchpointError when the name is taken, with the path that takes it.
    """
    expected = Path(pinchpoint.__file__).parent.parent / package
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise PinchpointError(f"the package {package!r} is missing, expected {expected}.\nInstall pinchpoint again.")
    if spec.origin is not None and Path(spec.origin).parent == expected:
        return
    taken_by = spec.origin or next(iter(spec.submodule_search_locations or ()), "something unknown")
    raise PinchpointError(
        f"the name {package!r} is taken by {taken_by}, expected {expected}.\n"
        "Run pinchpoint from its own environment, and leave its PYTHONPATH empty."
    )


@click.group(
    cls=EntryPointGroup,
    context_settings=HELP | {"max_content_width": 100},
    epilog="Every command has its own help: pinchpoint COMMAND -h",
)
@click.version_option(pinchpoint.__version__, message="%(prog)s %(version)s")
def root() -> None:
    """Why is this AI workload slow, and what would fixing it give back?

    \b
    Run a command and learn at its end why it was slow:
      pinchpoint watch -- python train.py
    Ask about what was recorded elsewhere:
      pinchpoint diagnose trace.json.gz
    """


def main() -> int:
    """Run the command line of this process; returns its exit status."""
    return run(root, sys.argv[1:])


def run(command: click.Command, args: list[str]) -> int:
    """Run a command and turn every error into a message on stderr and an exit status.

    Returns: 0 answered, 1 failed, 2 wrong usage, 130 interrupted, 141 when the reader of stdout left; or what the command exits with.
    """
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, "pinchpoint", _COMPLETE, instruction)
    try:
        # not command.main(): it makes an exit status of 1 of every broken pipe
        with command.make_context("pinchpoint", list(args)) as context:
            status = command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        click.echo(err=True)  # ends the line that the terminal wrote ^C on
        return _INTERRUPTED
    except click.Abort:
        return 1
    except BrokenPipeError:
        _drop_output()
        return _READER_LEFT
    except PinchpointError as error:
        return _fail(str(error), error, error.exit_status)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            return _fail(_unexpected(error), error, 1)
        return _fail(f"this needs {error.name}, which comes with the extra {extra!r}: pip install 'pinchpoint[{extra}]'", error, 1)
    except OSError as error:
        return _fail(f"{error.strerror}: {error.filename}" if error.filename else _unexpected(error), error, 1)
    except Exception as error:
        return _fail(_unexpected(error), error, 1)
    return status if isinstance(status, int) else 0


def _unexpected(error: Exception) -> str:
    said = f"{type(error).__name__}: {error}".replace("\n", " ")
    return f"{said}\nThis is a defect of pinchpoint. Set PINCHPOINT_DEBUG=1 to see where it happened."


def _fail(message: str, error: Exception, status: int) -> int:
    if os.environ.get("PINCHPOINT_DEBUG"):
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    click.echo("Error: " + "\n".join(printable(line) for line in message.split("\n")), err=True)
    return status


def _drop_output() -> None:
    """Give stdout somewhere to go, else the interpreter complains when it flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
