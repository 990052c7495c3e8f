"""Output of `nvidia-smi -q -x`: XML, read without entities and without ever holding the whole."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.parsers import expat

from pinchpoint.clock import NS
from pinchpoint.errors import InputError
from shippers.formats.base import Batch, Format, Reading
from shippers.formats.gpu_readings import GpuReading, batches
from shippers.formats.lines import read_until_damaged
from shippers.formats.nvidia_smi_paths import reading_of
from shippers.formats.smi_times import smi_time_ns

_MOST_DEPTH = 64
_MOST_VALUES = 5000
_MOST_TEXT = 4096
_START = b"<?xml"


class _Log:
    """What the parser tells, as readings."""

    def __init__(self, written_ns: int) -> None:
        self.found: list[GpuReading] = []
        self._written_ns, self._time_ns, self._driver = written_ns, written_ns, ""
        self._path: list[str] = []
        self._text = ""
        self._address: str | None = None
        self._values: dict[str, str] = {}

    def parser(self) -> expat.XMLParserType:
        """A parser for one document, which refuses declarations of entities: they can blow up and read files."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = _refuse
        parser.buffer_text = True
        self._path, self._address = [], None
        return parser

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= _MOST_DEPTH:
            raise ValueError(f"XML nested deeper than {_MOST_DEPTH}")
        self._path.append(name[:100])
        self._text = ""
        if self._path == ["nvidia_smi_log", "gpu"]:
            self._address, self._values = attributes.get("id", "")[:40], {}

    def _characters(self, text: str) -> None:
        if len(self._text) < _MOST_TEXT:
            self._text += text[:_MOST_TEXT]

    def _end(self, name: str) -> None:
        place = "/".join(self._path[2:])
        if self._address is not None and place:
            if self._text.strip() and len(self._values) < _MOST_VALUES:
                self._values.setdefault(f"/{place}", self._text.strip())
        elif self._address is not None:
            self.found.append(reading_of(self._address, self._values, self._time_ns, self._driver))
            self._address = None
        elif name == "timestamp":
            self._time_ns = smi_time_ns(self._text) or self._written_ns
        elif name == "driver_version":
            self._driver = self._text.strip()[:40]
        self._path.pop()
        self._text = ""


def _refuse(*declared: object) -> None:
    raise ValueError("XML that declares entities is refused")


def recognises(head: bytes) -> bool:
    """Whether it is XML with nvidia-smi's first element."""
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")[:2]
    return start[:1] == b"<" and b"<nvidia_smi_log" in head[:4096]


def read(path: Path, reading: Reading) -> Iterator[Batch]:
    """Metric records of each GPU, and events of the errors that they show.

    Raises: InputError when nothing can be read of it.
    """
    log = _Log(int(path.stat().st_mtime) * NS)
    try:
        for _ in _parse(read_until_damaged(path, reading.notes), log):
            yield from batches(log.found)
            log.found.clear()
    except (expat.ExpatError, ValueError) as error:
        if not reading.records and not log.found:
            raise InputError(f"{path}: {error}") from error
        reading.notes.append(f"read up to where it is damaged: {error}")
        yield from batches(log.found)


def _parse(chunks: Iterable[bytes], log: _Log) -> Iterator[None]:
    """Parse documents one after the other, as -l writes them; hands over after each chunk."""
    parser: expat.XMLParserType | None = None
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        # a start that the end of a chunk cuts waits for the next one
        keep = next((size for size in range(len(_START) - 1, 0, -1) if data.endswith(_START[:size])), 0)
        data, rest = data[: len(data) - keep], data[len(data) - keep:]
        first, *others = data.split(_START)
        if parser is None and first.strip():
            parser = log.parser()
        if parser is not None:
            parser.Parse(first, False)
        for other in others:
            parser = log.parser()
            parser.Parse(_START + other, False)
        yield


FORMAT = Format("nvidia_smi_xml", recognises, read)
