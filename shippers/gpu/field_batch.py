"""Read many field values of one GPU in one call, with an array that is built once."""

import ctypes
import struct
from collections.abc import Collection, Sequence
from typing import Any

import pynvml

from shippers.gpu.errors import DRIVER_GONE, FUNCTION_NOT_FOUND, GPU_IS_LOST, NEVER, DriverGoneError, LostError
from shippers.gpu.field_table import Field, FieldReading

#: Of a value: field, scope, when in µs, how long reading took, type, error, and the 8 bytes of the number.
_VALUE = struct.Struct("=IIqqiiQ")
_DOUBLE, _SIGNED, _INT = 0, 4, 5
_RAW, _AS_DOUBLE, _AS_SIGNED, _AS_INT = struct.Struct("=Q"), struct.Struct("=d"), struct.Struct("=q"), struct.Struct("=i4x")
_OTHERS = {_DOUBLE: _AS_DOUBLE, _SIGNED: _AS_SIGNED, _INT: _AS_INT}


class FieldBatch:
    """Some readings of one GPU. The first time all ways are tried; what cannot be read is not asked for again."""

    def __init__(self, handle: Any, readings: Sequence[FieldReading]) -> None:
        self._handle = handle
        self._readings = list(readings)
        self._ways: dict[str, tuple[Field, ...]] = {}
        self._is_learnt = False
        self._before: dict[str, tuple[float, int]] = {}
        self.missing: dict[str, str] = {}
        """Why a metric cannot be read here."""
        self._build([field for reading in readings for way in reading.ways for field in way])

    def _build(self, fields: Collection[Field]) -> None:
        fields = list(dict.fromkeys(fields))
        self._count = len(fields)
        self._values = (pynvml.c_nvmlFieldValue_t * max(self._count, 1))()
        for place, field in enumerate(fields):
            self._values[place].fieldId, self._values[place].scopeId = field
        self._bytes = memoryview(self._values).cast("B")[:_VALUE.size * self._count]

    def leave_out(self, metrics: Collection[str]) -> None:
        """Read these no more: they come from elsewhere."""
        self._readings = [reading for reading in self._readings if reading.metric not in metrics]
        self._build([field for reading in self._readings for field in self._ways.get(reading.metric, ())])

    def read(self) -> dict[str, float]:
        """The metrics now; a rate comes from the second time on.

        Raises: LostError, DriverGoneError.
        """
        if not self._count:
            return {}
        function = getattr(pynvml.nvmlLib, "nvmlDeviceGetFieldValues", None)
        error = FUNCTION_NOT_FOUND if function is None else function(self._handle, self._count, ctypes.byref(self._values))
        if error == GPU_IS_LOST:
            raise LostError
        if error in DRIVER_GONE:
            raise DriverGoneError(error)
        if error:
            if error in NEVER:
                self.missing |= {reading.metric: NEVER[error] for reading in self._readings}
                self._count = 0
            return {}
        numbers: dict[Field, float] = {}
        errors: dict[Field, int] = {}
        stamp_us = 0
        for field, scope, when_us, _, kind, failed, raw in _VALUE.iter_unpack(self._bytes):
            if failed:
                errors[field, scope] = failed
                continue
            stamp_us = when_us
            numbers[field, scope] = raw if kind not in _OTHERS else _OTHERS[kind].unpack(_RAW.pack(raw))[0]
        if GPU_IS_LOST in errors.values():
            raise LostError
        if not self._is_learnt:
            self._learn(numbers, errors)
        return self._metrics(numbers, stamp_us)

    def _learn(self, numbers: dict[Field, float], errors: dict[Field, int]) -> None:
        """Choose the first way of each metric that gives a number, and forget the fields that never will."""
        for reading in self._readings:
            for way in reading.ways:
                # a failure that may pass is no reason to forget a field
                usable = tuple(field for field in way if field in numbers or errors[field] not in NEVER)
                if usable:
                    self._ways[reading.metric] = usable
                    break
            else:
                self.missing[reading.metric] = NEVER[errors[reading.ways[0][0]]]
        self._readings = [reading for reading in self._readings if reading.metric in self._ways]
        self._build([field for reading in self._readings for field in self._ways[reading.metric]])
        self._is_learnt = True

    def _metrics(self, numbers: dict[Field, float], stamp_us: int) -> dict[str, float]:
        metrics = {}
        for reading in self._readings:
            way = self._ways[reading.metric]
            try:
                value = numbers[way[0]] if len(way) == 1 else sum([numbers[field] for field in way])
            except KeyError:
                continue  # one of its fields failed this time
            value *= reading.factor
            if reading.is_rate:
                before, before_us = self._before.get(reading.metric, (0.0, 0))
                self._before[reading.metric] = (value, stamp_us)
                # a counter that went back was reset or has wrapped
                if not before_us or stamp_us <= before_us or value < before:
                    continue
                value = (value - before) / (stamp_us - before_us) * 1e6
            metrics[reading.metric] = float(value)
        return metrics
