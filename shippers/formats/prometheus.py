"""Metrics of Prometheus in files: pages of exporters as text, and answers of its query API as JSON."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pinchpoint import records
from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.lines import read_until_damaged
from shippers.sources.exposition import MOST_SAMPLES, Page, Sample, parse_value
from shippers.sources.scrape_naming import Naming

_MOST_BYTES = 64 << 20
_MOST_POINTS = 2_000_000
_BATCH_ROWS = 8192
_TYPE = re.compile(rb"^# (?:TYPE [^\s]{1,200} "
                   rb"(?:counter|gauge|histogram|summary|untyped|unknown|info|stateset)|HELP [^\s]{1,200} .{0,400})\r?$",
                   re.MULTILINE)


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Result(msgspec.Struct):
    result: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    data: _Result


def recognises_text(head: bytes) -> bool:
    """Whether the beginning has a line that says of which type a metric is, and a sample of it."""
    found = _TYPE.search(head) if b"\0" not in head else None
    if found is None:
        return False
    page = Page(head[found.start():].rpartition(b"\n")[0].decode("utf-8", "replace"), is_openmetrics=False)
    return next(iter(page), None) is not None and page.bad_lines == 0


def recognises_json(head: bytes) -> bool:
    """Whether it begins like an answer with a matrix or a vector."""
    start = head[:4096]
    return start.lstrip()[:1] == b"{" and b'"resultType"' in start and (b'"matrix"' in start or b'"vector"' in start)


def read_text(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of one page; samples without a time are of when the file was written.

    Raises: InputError when nothing can be read, or it is too large for a page.
    """
    text = _whole(path, reading).decode("utf-8", "replace")
    page = Page(text, is_openmetrics=text.rstrip().endswith("# EOF"))
    named, stem = Naming(), _stem(path)
    for sample in page:
        _add(named, sample, stem)
    if page.bad_lines:
        reading.rejected += page.bad_lines
        reading.notes.append(f"lines that are no samples: {page.bad_lines}, or more than {MOST_SAMPLES} lines")
    yield from _batches(named, stem, path.stat().st_mtime_ns)


def read_json(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of the points of all series; a series without a name is called like the file.

    Raises: InputError when nothing can be read, or it is too large or no answer.
    """
    try:
        answer = msgspec.json.decode(_whole(path, reading), type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: no answer of Prometheus: {error}") from error
    named, stem, points = Naming(), _stem(path), 0
    for raw in answer.data.result:
        try:
            series = msgspec.json.decode(raw, type=_Series)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reading.reject(bytes(raw), f"no series: {error}")
            continue
        labels = dict(series.metric)
        name = labels.pop("__name__", stem)
        for time_s, text in series.values if series.value is None else [series.value]:
            if points >= _MOST_POINTS:
                reading.notes.append(f"more than {_MOST_POINTS} points in it: the rest is left out")
                break
            try:
                sample = Sample(name, labels, parse_value(text), round(time_s * 1000) * (NS // 1000) if 0 <= time_s < 9e9 else None)
            except ValueError:
                reading.reject(text.encode("utf-8", "replace"), "no number")
                continue
            points += 1
            _add(named, sample, stem)
        if points >= _MOST_POINTS:
            break
    yield from _batches(named, stem, path.stat().st_mtime_ns)


def _add(named: Naming, sample: Sample, stem: str) -> None:
    """A sample under its own label `instance`, which a server adds, or else under the name of the file."""
    instance = sample.labels.get("instance", stem)
    machine = instance.rpartition(":")[0] or instance
    left = {name: value for name, value in sample.labels.items() if name not in ("instance", "job")}
    if instance != stem:
        left.setdefault("Hostname", machine)
    named.add(sample._replace(labels=left), instance, machine)


def _whole(path: Path, reading: Reading) -> bytes:
    data = bytearray()
    for chunk in read_until_damaged(path, reading.notes):
        data += chunk
        if len(data) > _MOST_BYTES:
            raise InputError(f"{path}: more than {_MOST_BYTES} bytes: ask for a shorter time, or for fewer series at once")
    return bytes(data)


def _stem(path: Path) -> str:
    return path.name.split(".", maxsplit=1)[0] or "prometheus"


def _batches(named: Naming, stem: str, otherwise_ns: int) -> Iterator[Batch]:
    found = list(named.readings())
    for begin in range(0, len(found), _BATCH_ROWS):
        part = found[begin:begin + _BATCH_ROWS]
        labels = [dict(one.labels or {}) for one in part]
        hosts = [one.pop("host.name", None) for one in labels]
        yield "metric", records.batch("metric", {
            "@timestamp": [otherwise_ns if one.time_ns is None else one.time_ns for one in part],
            "event.id": [records.content_id("prometheus", stem, begin + place, *one[:2]) for place, one in enumerate(part)],
            "entity.kind": [one.entity_kind for one in part], "entity.id": [one.entity_id for one in part], "host.name": hosts,
            "metrics": [list(one.metrics.items()) for one in part], "labels": [list(one.items()) for one in labels]})


TEXT = Format("prometheus_text", recognises_text, read_text)
JSON = Format("prometheus_json", recognises_json, read_json)
