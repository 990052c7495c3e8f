"""Message types of protocol buffers, made of a table: only what is read of them, so that nobody's generated code is needed."""

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Fields = tuple[tuple[str, int, str], ...]
"""Name, number and type of each field: a scalar of protocol buffers or the name of a message, after `*` where the field repeats."""

_ONE, _MANY = (descriptor_pb2.FieldDescriptorProto.Label.Value(f"LABEL_{name}") for name in ("OPTIONAL", "REPEATED"))


def message_type(schema: Mapping[str, Fields], name: str) -> Any:
    """The class of one of the messages of a table; it skips the fields that are not in it.

    >>> message_type({"Point": (("x", 1, "int64"),)}, "Point").FromString(b"\\x08\\x07").x
    7
    """
    file = descriptor_pb2.FileDescriptorProto(name="read.proto", package="pinchpoint", syntax="proto3")
    for message, fields in schema.items():
        made = file.message_type.add(name=message)
        for field_name, number, kind in fields:
            one = kind.removeprefix("*")
            field = made.field.add(name=field_name, number=number, label=cast("Any", _ONE if one == kind else _MANY))
            if one in schema:
                field.type = cast("Any", descriptor_pb2.FieldDescriptorProto.Type.Value("TYPE_MESSAGE"))
                field.type_name = f".pinchpoint.{one}"
            else:
                field.type = cast("Any", descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{one.upper()}"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"pinchpoint.{name}"))
