"""Golden values of Megatron-LM: JSON of curves, each with its values by step, of which one is the time of an iteration."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_chunks
from shippers.formats.logged_steps import Logged, lay

_MOST_BYTES = 256 << 20
_CURVE = re.compile(rb'^\s*\{\s*"[^"]{1,100}"\s*:\s*\{\s*"start_step"\s*:\s*\d')


class _Curve(msgspec.Struct):
    values: dict[str, float | str | None] = {}


def recognises(head: bytes) -> bool:
    """Whether it begins with a curve that says at which step it starts."""
    return _CURVE.match(head) is not None


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Steps with the time of the curve `iteration-time`, and losses that are no number.

    Raises: InputError when it cannot be read, is too large, or no such file.
    """
    data = bytearray()
    for chunk in read_chunks(path):
        data += chunk
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path}: longer than {_MOST_BYTES >> 20} MiB, which no such file is")
    try:
        curves = msgspec.json.decode(data, type=dict[str, _Curve])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no golden values of Megatron-LM: {error}") from error
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for name, curve in curves.items():
        for step, value in curve.values.items():
            try:
                # a step that was not reached has the value "nan"
                rows[int(step)][name] = float("nan" if value is None else value)
            except ValueError as error:
                reading.reject(f"{name[:100]} {step[:30]}".encode("utf-8", "replace"), str(error))
    logged = Logged(path.name.split(".", maxsplit=1)[0], path.name)
    lay(logged, ((step, None, {name: value for name, value in rows[step].items() if value == value}) for step in sorted(rows)))
    yield from logged.batches(reading)


FORMAT = Format("golden_values", recognises, read)
