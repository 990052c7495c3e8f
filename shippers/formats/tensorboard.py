"""Event files of TensorBoard (`events.out.tfevents.*`): the steps that its scalars were written at, and those that tell times."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_until_damaged
from shippers.formats.logged_steps import Logged
from shippers.formats.tfrecord import begins, read_records
from shippers.wire_types import Fields, message_type

#: Scalars take some hundred bytes: what is longer holds images, graphs or histograms.
_MOST_BYTES = 1 << 16
#: `brain.Event:2`, the version that the first record of each file names.
_VERSION = b"brain.Event:"
_SCHEMA: dict[str, Fields] = {
    "Event": (("wall_time", 1, "double"), ("step", 2, "int64"), ("summary", 5, "Summary")),
    "Summary": (("value", 1, "*Value"),),
    # what is no number: image, histogram, audio
    "Value": (("tag", 1, "string"), ("simple_value", 2, "float"), ("image", 4, "bytes"), ("histo", 5, "bytes"), ("audio", 6, "bytes"),
              ("tensor", 8, "Tensor")),
    "Tensor": (("dtype", 1, "int32"), ("content", 4, "bytes"), ("float_val", 5, "*float"), ("double_val", 6, "*double")),
}
_EVENT: Any = message_type(_SCHEMA, "Event")
_FLOAT, _DOUBLE = 1, 2
_PLAIN_NAME = re.compile(r"events\.out\.tfevents\.")


def recognises(head: bytes) -> bool:
    """Whether it begins with a record that names the version of such files."""
    return begins(head) and _VERSION in head[:64]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """One step record for each step between two values of the scalar that was written most often, and losses that are no number.

    Raises: InputError when nothing can be read.
    """
    parent = path.resolve().parent.name
    logged = Logged(parent if _PLAIN_NAME.match(path.name) and not parent.isdigit() else path.name.removeprefix("events.out.tfevents."),
                    path.name)
    for record in read_records(read_until_damaged(path, reading.notes), reading.notes, _MOST_BYTES):
        if not record.data:
            continue
        if not record.whole:
            reading.reject(record.data, "its checksum is wrong")
            continue
        try:
            event = _EVENT.FromString(record.data)
        except DecodeError as error:
            reading.reject(record.data, f"no event: {error}")
            continue
        for value in event.summary.value:
            number = _number(value)
            if number is not None:
                logged.add(value.tag, event.step, event.wall_time, number)
    yield from logged.batches(reading)


def _number(value: Any) -> float | None:
    """A scalar, as TensorFlow 1 and tensorboardX write it, or as TensorFlow 2 does; None for anything else."""
    if not value.HasField("tensor"):
        return None if value.image or value.histo or value.audio else float(value.simple_value)
    tensor = value.tensor
    if tensor.dtype == _FLOAT and len(tensor.float_val) == 1:
        return float(tensor.float_val[0])
    if tensor.dtype == _DOUBLE and len(tensor.double_val) == 1:
        return float(tensor.double_val[0])
    return _content(tensor)


def _content(tensor: Any) -> float | None:
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(tensor.dtype)
    if form is None or len(tensor.content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, tensor.content)[0])


FORMAT = Format("tensorboard", recognises, read)
