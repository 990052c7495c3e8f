"""Make documents of the lines of one log, whatever they are written in."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from shippers.items import CREATE, CREATED
from shippers.redact import Redactor
from shippers.tail import containers
from shippers.tail.enrichment import Enrichment
from shippers.tail.flatten import flatten
from shippers.tail.framing import Framed, lines_of, text_of
from shippers.tail.levels import guess_level
from shippers.tail.logfmt import parse_logfmt
from shippers.tail.multiline import Pattern, Tracebacks
from shippers.tail.settings import PYTHON, TRAINING, FileSet
from shippers.tail.shapes import Rows, Shape, learn, render
from shippers.tail.texts import Texts
from shippers.tail.times import leading_time

_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode
_CONTROLS = bytes(byte for byte in range(32) if byte != 10)
_MOST_SHAPES = 12
_LOOKED_AT = 8
_CHUNK_BYTES = 1 << 16
_TRIED_WHOLE = 2
_LOGFMT_HINT = re.compile(rb"(?:^|\s)(?:level|lvl|msg|ts|time)=")

Documents = tuple[list[int], bytes]
"""Where each record starts in its log, and all of them as the body of a bulk; see `shippers.items.LogItems`."""


class LineParser:
    """Lines of one log become documents; secrets are taken out first.

    A JSON line whose shape was met before goes through that shape; whatever a shape does not match is parsed. What is no valid
    JSON becomes the message of its record, so that no document is ever invalid.
    """

    def __init__(self, enrichment: Enrichment, files: FileSet, redactor: Redactor) -> None:
        self._enrichment = enrichment
        self._log_id = enrichment.log_id.encode()
        self._format = "text" if files.format == TRAINING else files.format
        self._path = str(enrichment.fields["log.file.path"])
        self._joiner = Tracebacks() if files.multiline == PYTHON else Pattern(files.multiline)
        self._redactor = redactor
        self._shapes: list[Shape] = []
        self._texts = Texts(enrichment)
        self._key_lines = 0
        self._observed = ""
        self.used_observed = False
        """Whether a line of the last call had no time of its own."""
        self.invalid_utf8 = 0
        """Lines in which bytes were replaced."""
        self.not_json = 0
        """Lines that look like JSON or have to be, and are not."""

    def parse(self, framed: Framed, observed: str, *, final: bool) -> tuple[Documents, int]:
        """The documents of some lines, and how many lines at the end wait for what belongs to them.

        Args:
            framed: the lines, and where each begins in the log.
            observed: time of the lines that have none of their own, ISO 8601.
            final: nothing may wait.
        """
        self._observed, self.used_observed = observed, False
        text, starts = framed.text, framed.starts
        if self._format in ("auto", "cri", "docker") and starts:
            form = self._format if self._format != "auto" else containers.format_of(self._path, text[:framed.lengths[0] - 1])
            if form is not None:
                return self._containers(form, lines_of(text), starts, final)
        if self._format != "json" and self._joiner.may_occur(text):
            lines = lines_of(text)
            begins, certain = self._joiner.groups(lines)
            if final:
                certain = len(lines)
            begins = [begin for begin in begins if begin < certain]
            joined = [b"\n".join(lines[begin:end]) for begin, end in pairwise([*begins, certain])]
            return self._clean([starts[begin] for begin in begins], self._decoded(joined)), len(lines) - certain
        lengths = framed.lengths
        if not text.isascii() and (decoded := self._decoded(lines := lines_of(text))) != lines:
            text, lengths = text_of(decoded), [len(line) + 1 for line in decoded]
        is_json = self._format in ("auto", "json") and (text[:1] == b"{" or b"\n{" in text[:sum(lengths[:_LOOKED_AT])])
        return (starts, b"".join(self._in_chunks(text, lengths, starts, is_json))), 0

    def _in_chunks(self, text: bytes, lengths: list[int], starts: list[int], is_json: bool) -> Iterator[bytes]:
        """The body of lines, in pieces that fit into a processor's cache: that is twice as fast."""
        at = 0
        step = max(1, _CHUNK_BYTES * len(lengths) // max(len(text), 1))
        for number in range(0, len(lengths), step):
            chunk = text[at:at + sum(lengths[number:number + step])]
            at += len(chunk)
            some = starts[number:number + step]
            # secrets and control characters are looked for in the texts of the result, a quarter of the bytes
            not_json, used_observed = self.not_json, self.used_observed
            body = self._by_shape(chunk, some) if is_json else None
            if body is None:
                self.not_json, self.used_observed = not_json, used_observed
                body = self._clean(some, lines_of(chunk))[1]
            yield body

    def _decoded(self, lines: list[bytes]) -> list[bytes]:
        """The lines as valid UTF-8."""
        found = []
        for line in lines:
            try:
                line.decode()
                found.append(line)
            except UnicodeDecodeError:
                self.invalid_utf8 += 1
                found.append(line.decode(errors="replace").encode())
        return found

    def _by_shape(self, text: bytes, starts: list[int]) -> bytes | None:
        """The body of JSON lines; None when there may be a secret or a control character in a text, or hardly any line is JSON.

        This is where an agent spends its time: lines of one shape go together through functions that loop in C.
        """
        if self._redactor.matches_own(text):  # these may ask for numbers too
            return None
        escapes = b"\\" in text
        for shape in self._shapes[:_TRIED_WHOLE]:
            rows = shape.rows(text, len(starts), escapes)
            if rows is not None:
                return self._rendered(shape, rows, starts)
        lines = lines_of(text)
        records = [b""] * len(lines)
        others = 0
        left = list(range(len(lines)))
        while left:
            shape_of_first = self._shape_for(lines[left[0]])
            if shape_of_first is None:
                others += 1
                if others > _LOOKED_AT and others * 2 > len(lines) - len(left) + others:
                    return None
                records[left[0]] = self._record(starts[left[0]], self._clean_one(starts[left[0]], lines[left[0]]))
                del left[0]
                continue
            matches = shape_of_first.escaped.match if escapes else shape_of_first.plain.match
            found = [matches(lines[number] + b"\n") for number in left]
            those = [number for number, one in zip(left, found, strict=True) if one is not None]
            body = self._rendered(shape_of_first, [one.groups() for one in found if one is not None], [starts[number] for number in those])
            if body is None:
                return None
            parts = body.split(b"\n")
            for place, number in enumerate(those):
                records[number] = b"%b\n%b\n" % (parts[2 * place], parts[2 * place + 1])
            left = [number for number, one in zip(left, found, strict=True) if one is None]
        return b"".join(records)

    def _rendered(self, shape: Shape, rows: Rows, starts: list[int]) -> bytes | None:
        """The body of lines of one shape; None when they have to be looked at one by one."""
        rendered = render(shape, rows, starts, self._observed)
        if rendered is None or self._redactor.suspects(rendered[1]):
            return None
        self.used_observed |= shape.time is None
        return rendered[0]

    def _record(self, start: int, document: bytes) -> bytes:
        return b"%b%b-%012x%b\n%b\n" % (CREATE, self._log_id, start, CREATED, document)

    def _body(self, starts: list[int], documents: list[bytes]) -> Documents:
        return starts, b"".join(map(self._record, starts, documents))

    def _shape_for(self, line: bytes) -> Shape | None:
        """A shape that matches a line, the one that matched last first; None when there is none."""
        if line[:1] != b"{":
            return None
        for number, known in enumerate(self._shapes):
            if known.escaped.match(line + b"\n"):
                self._shapes.insert(0, self._shapes.pop(number))
                return known
        # the names of a shape are not looked at again
        if len(self._shapes) >= _MOST_SHAPES or line.translate(None, _CONTROLS) != line or self._redactor.suspects(line):
            return None
        record = _object(line)
        shape = None if record is None else learn(line, record, self._enrichment)
        if shape is not None:
            self._shapes.insert(0, shape)
        return shape

    def _clean(self, starts: list[int], lines: list[bytes]) -> Documents:
        """The documents of lines of valid UTF-8, each parsed by itself, without secrets."""
        if not lines:  # all of them wait for what belongs to them
            return starts, b""
        block = b"\n".join(lines)
        if self._key_lines or self._redactor.suspects(block):
            lines, self._key_lines = self._redactor.lines(lines, self._key_lines)
            block = b"\n".join(lines)
        structured = self._format != "text" and (block.startswith(b"{") or b"\n{" in block or _LOGFMT_HINT.search(block))
        if structured or self._format in ("logfmt", "json"):
            return self._body(starts, list(map(self._parse, starts, lines)))
        body, observed = self._texts.body(starts, lines, self._observed)
        self.used_observed |= observed
        return starts, body

    def _clean_one(self, start: int, line: bytes) -> bytes:
        return self._parse(start, self._redactor(line))

    def _parse(self, start: int, line: bytes, time: str | None = None, labels: dict[str, str] | None = None) -> bytes:
        fields: dict[str, Any]
        found: dict[str, str]
        record = None
        if self._format != "text" and self._format != "logfmt":
            if line[:1] == b"{":
                record = _object(line)
            if record is None and (line[:1] == b"{" or self._format == "json"):
                self.not_json += 1
        text = line.decode()
        if record is None and (self._format == "logfmt" or (self._format != "text" and _LOGFMT_HINT.search(line, 0, 200))):
            record = parse_logfmt(text)
        if record is not None:
            fields, found = flatten(record)
        else:
            fields, found = {"message": text}, {}
            level = guess_level(text)
            if level is not None:
                fields["log.level"] = level
        own = fields.pop("@timestamp", None) or time or (leading_time(text) if record is None else None)
        if own is None:
            self.used_observed = True
        return self._enrichment.document(start, own or self._observed, fields, {**labels, **found} if labels else found)

    def _containers(self, form: str, lines: list[bytes], starts: list[int], final: bool) -> tuple[Documents, int]:
        wrapped, waiting = containers.unwrap(form, lines, starts, final=final)
        texts, self._key_lines = self._redactor.lines(self._decoded([one.text for one in wrapped]), self._key_lines)
        begins, certain = self._joiner.groups(texts) if self._joiner.may_occur(b"\n".join(texts)) else (list(range(len(texts))), len(texts))
        if final:
            certain = len(texts)
        elif certain < len(texts):
            waiting = sum(start >= wrapped[certain].start for start in starts)
        begins = [begin for begin in begins if begin < certain]
        documents = []
        for begin, end in pairwise([*begins, certain]):
            one = wrapped[begin]
            labels = {} if one.stream is None else {"stream": one.stream}
            documents.append(self._parse(one.start, b"\n".join(texts[begin:end]), one.time, labels))
        return self._body([wrapped[begin].start for begin in begins], documents), waiting


def _object(line: bytes) -> dict[str, Any] | None:
    """A line as the JSON object it is; None when it is anything else."""
    try:
        record = _DECODE(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
