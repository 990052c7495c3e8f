"""Runs in a file store of MLflow: their metrics, each a file of `time value step`, beside the run's `meta.yaml`."""

import re
from collections.abc import Iterator
from pathlib import Path

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_lines
from shippers.formats.logged_steps import Logged

_METRICS, _PARAMETERS = "metrics", "params"
_META = "meta.yaml"
#: Names of metrics have slashes, which are folders here.
_DEEPEST, _MOST_FILES = 4, 10_000
_LINE = re.compile(rb"(\d{12,14}) (\S{1,32}) (\d{1,15})\r?")
_META_KEYS = (b"\nrun_id:", b"\nlifecycle_stage:", b"artifact_uri:")
_NAME = re.compile(rb"^run_(?:name|id): *['\"]?([^\r\n'\"]{1,200})", re.MULTILINE)
_MOST_META_BYTES, _MOST_PARAMETER_BYTES = 1 << 16, 400
_FEWEST_LINES = 2
#: Below the folder of a run, what its `meta.yaml` stands for.
_PARTS = (_METRICS, _PARAMETERS, "tags")


def recognises(head: bytes) -> bool:
    """Whether it is the `meta.yaml` of a run, or lines of milliseconds, a value and a step."""
    if all(key in b"\n" + head for key in _META_KEYS):
        return True
    lines = head[:4096].split(b"\n")[:-1][:8]
    return len(lines) >= _FEWEST_LINES and all(_LINE.fullmatch(line) for line in lines)


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each step between two values of the metric that was logged most often, and losses that are no number.

    Raises: InputError when nothing can be read.
    """
    if path.name == _META:
        run = path.resolve().parent
        with path.open("rb") as file:
            names = _NAME.findall(file.read(_MOST_META_BYTES))
        logged = Logged((names[-1] if names else run.name.encode()).decode("utf-8", "replace"), run.name)
        for tag, metric in _files(run / _METRICS):
            _add(logged, tag, metric, reading)
        for name, parameter in _files(run / _PARAMETERS):
            with parameter.open("rb") as file:
                reading.set(name, file.read(_MOST_PARAMETER_BYTES).decode("utf-8", "replace").strip())
    else:
        folder = next((one for one in path.resolve().parents if one.name == _METRICS), None)
        logged = Logged(folder.parent.name if folder is not None else path.name, path.name)
        _add(logged, path.name if folder is None else path.resolve().relative_to(folder).as_posix(), path, reading)
    yield from logged.batches(reading)


def _files(top: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each metric or parameter of a run; links are not followed."""
    folders, count = [top] if top.is_dir() and not top.is_symlink() else [], 0
    while folders:
        folder = folders.pop()
        for one in sorted(folder.iterdir()):
            inside = one.relative_to(top)
            if one.is_symlink():
                continue
            if one.is_dir() and len(inside.parts) < _DEEPEST:
                folders.append(one)
            elif one.is_file():
                count += 1
                if count > _MOST_FILES:
                    return
                yield inside.as_posix(), one


def is_part(path: Path) -> bool:
    """Whether a file of a store is read with the `meta.yaml` of its run, or is that of an experiment, which tells nothing."""
    if path.name == _META:
        return any((one / _META).is_file() for one in path.parent.iterdir() if one.is_dir())
    return any(folder.name in _PARTS and (folder.parent / _META).is_file() for folder in list(path.parents)[:_DEEPEST + 1])


def _add(logged: Logged, tag: str, path: Path, reading: Reading) -> None:
    try:
        for line, _ in read_lines(path, reading.notes):
            found = _LINE.fullmatch(line)
            try:
                if found is not None:
                    logged.add(tag, int(found[3]), int(found[1]) / 1000, float(found[2]))
                    continue
                reason = "not `time value step`"
            except ValueError as error:
                reason = str(error)
            if line.strip():
                reading.reject(line, f"{tag}: {reason}")
    except InputError as error:
        reading.notes.append(f"{tag}: {str(error).removeprefix(f'{path}: ')}")


FORMAT = Format("mlflow", recognises, read)
