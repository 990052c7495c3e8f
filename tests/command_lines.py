"""Command lines of ours that stand in documents and files, checked without being run."""

import importlib.metadata
import re
import shlex

import click

_FENCE = re.compile(r"^```(?:\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_OURS = re.compile(r"(?:^|\$ |\$\(|&& |\| )(?:[A-Z_]+=\S+ +)*pinchpoint (?=\S)")
_STOPS = {"|", ">", ">>", "2>", "&&", ";", "&"}


def in_markdown(text: str) -> list[str]:
    """The lines of code blocks that call `pinchpoint`, continued ones whole."""
    found = []
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for match in _OURS.finditer(line):
                found.append(line[match.end():].strip())
    return found


def words_of(line: str) -> list[str]:
    """The words of a line as a shell takes them, up to where another command begins."""
    words = []
    for word in shlex.split(line.replace("$(", "").replace(")", " "), comments=True):
        if word in _STOPS:
            break
        words.append(word)
    return words


def parse(words: list[str]) -> None:
    """Fail unless these words are a command of `pinchpoint` with options that it has; the command is not run."""
    entries = importlib.metadata.distribution("pinchpoint").entry_points.select(group="pinchpoint.commands")
    if words[0] in ("-h", "--help", "--version"):
        return
    assert words[0] in entries.names, f"there is no command {words[0]}"
    command = entries[words[0]].load()
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"there is no command {words[0]} {name}"
        command = command.commands[name]
    context = click.Context(command, info_name=words[0], **command.context_settings)
    command.make_parser(context).parse_args(rest)
