"""The command line as a whole: assembled lazily, kind when something is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import pinchpoint
from pinchpoint import cli, errors

NAMES = cli.root.list_commands(click.Context(cli.root))


@pytest.mark.parametrize("name", NAMES)
def test_the_short_help_is_that_of_the_command(name):
    """What the root help says without loading a command is what the command says of itself."""
    command = cli.root.get_command(click.Context(cli.root), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == cli.SHORT_HELPS[name]


def test_every_short_help_belongs_to_a_command():
    """No command is announced that does not exist."""
    assert sorted(cli.SHORT_HELPS) == NAMES


def test_the_root_help_loads_no_part():
    """`pinchpoint --help` imports nothing of shippers, models and pipelines, and nothing heavy."""
    script = "import sys; from pinchpoint import cli; cli.run(cli.root, ['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & {"shippers", "models", "pipelines", "pyarrow", "pandas", "numpy", "apache_beam", "rich", "platformdirs"} == set()
    assert [name for name in NAMES if f"  {name} " not in done.stdout] == []


@pytest.mark.parametrize("args", [["-h"], ["--help"], *([name, flag] for name in NAMES for flag in ("-h", "--help"))])
def test_help_is_everywhere(args, capsys):
    """Both spellings of help work at the root and at every command."""
    assert cli.run(cli.root, args) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Usage: pinchpoint")
    assert printed.err == ""


def test_a_command_called_alone_knows_both_spellings_of_help(capsys):
    """A command says -h is help even where the root was not asked first."""
    assert [name for name in NAMES if cli.run(cli.root.get_command(click.Context(cli.root), name), ["-h"]) != 0] == []
    assert capsys.readouterr().err == ""


def test_the_version(pinchpoint):
    """The installed command knows its version."""
    assert pinchpoint("--version").stdout == f"pinchpoint {sys.modules['pinchpoint'].__version__}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["wacth"], "No such command 'wacth'. Did you mean 'watch'?"),
        (["zzz"], "No such command 'zzz'."),
        (["\x1b[31m"], r"No such command '\\x1b[31m'."),
        (["--nonsense"], "No such option"),
        (["incidents", "--config", "absent.toml"], "there is no configuration file absent.toml"),
        (["incidents", "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'"),
    ],
)
def test_wrong_usage_exits_with_2(args, says, capsys):
    """What the user typed wrongly is said on stderr, with the nearest name."""
    assert cli.run(cli.root, args) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""


def failing(error: BaseException) -> click.Command:
    """A command that fails like this."""

    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (errors.StoreError("cannot write to /lake.\nMake room."), 1, "Error: cannot write to /lake.\nMake room.\n"),
        (errors.ConfigError("analysis.window: unknown"), 2, "Error: analysis.window: unknown\n"),
        (errors.InputError("bad \x1b[31m line"), 1, "Error: bad \\x1b[31m line\n"),
        (FileNotFoundError(2, "No such file or directory", "/x"), 1, "Error: No such file or directory: /x\n"),
        (ModuleNotFoundError("No module named 'apache_beam'", name="apache_beam.io"), 1,
         "Error: this needs apache_beam.io, which comes with the extra 'analyze': pip install 'pinchpoint[analyze]'\n"),
        (ZeroDivisionError("division\nby zero"), 1, "Error: ZeroDivisionError: division by zero\n"
                                                    "This is a defect of pinchpoint. Set PINCHPOINT_DEBUG=1 to see where it happened.\n"),
        (click.UsageError("not both"), 2, "Usage: pinchpoint [OPTIONS]\nTry 'pinchpoint --help' for help.\n\nError: not both\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (SystemExit(7), 7, ""),
        (click.exceptions.Exit(3), 3, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_becomes_a_sentence_and_a_status(error, status, says, capsys):
    """No failure prints a traceback."""
    try:
        got = cli.run(failing(error), [])
    except SystemExit as ended:
        got = ended.code
    assert (got, capsys.readouterr().err) == (status, says)


def test_the_traceback_is_there_for_who_asks(monkeypatch, capsys):
    """PINCHPOINT_DEBUG=1 shows where an error happened, before the message."""
    monkeypatch.setenv("PINCHPOINT_DEBUG", "1")
    assert cli.run(failing(ZeroDivisionError("division by zero")), []) == 1
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.index("Traceback") < printed.index("Error: ZeroDivisionError: division by zero")


@pytest.mark.parametrize("args", [["--help"], ["causes", "list"]])
def test_a_reader_that_leaves_ends_the_command_quietly(args, tmp_path):
    """`pinchpoint … | head` prints no complaint."""
    read, write = os.pipe()
    os.close(read)
    command = [str(Path(sys.executable).parent / "pinchpoint"), *args]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_shell_can_complete_command_names(pinchpoint, monkeypatch):
    """The names of commands are offered to the shell."""
    monkeypatch.setenv("_PINCHPOINT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "pinchpoint inc")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert pinchpoint().stdout == "plain,incidents\n"


def test_a_part_whose_name_is_taken_is_refused(tmp_path):
    """Another package called `models` in front of ours is named, with the way out."""
    (tmp_path / "models").mkdir()
    taken = tmp_path / "models" / "__init__.py"
    taken.write_text("raise RuntimeError('the training code was imported')")
    script = "import sys; from pinchpoint import cli; sys.exit(cli.run(cli.root, ['causes', 'list']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    expected = Path(pinchpoint.__file__).parent.parent / "models"
    assert done.returncode == 1
    assert done.stderr == (f"Error: the name 'models' is taken by {taken}, expected {expected}.\n"
                           "Run pinchpoint from its own environment, and leave its PYTHONPATH empty.\n")
