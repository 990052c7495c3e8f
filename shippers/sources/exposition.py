"""Read the text that exporters show to Prometheus: format 0.0.4 and OpenMetrics 1.0, a line at a time.

The parser of prometheus_client gives up a whole page at its first bad line, and makes objects that are thrown away at once. This
one skips and counts bad lines. A test compares the two on real pages.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

MOST_SAMPLES = 100_000
_MOST_LABELS = 64
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_LABELS = rf'\{{((?:[^"{{}}]|{_QUOTED})*+)\}}'
_LINE = re.compile(rf"({_NAME})?[ \t]*+(?:{_LABELS})?[ \t]*+([^ \t#]++)(?:[ \t]++([-+0-9.eE]++))?[ \t]*+(?:#[ \t]*+{_LABELS}.*)?$")
_PAIR = re.compile(rf'[ \t]*+(?:({_NAME}|{_QUOTED})[ \t]*+=[ \t]*+)?({_QUOTED})[ \t]*+(,|$)')
_ESCAPE = re.compile(r"\\(.)")
_NEWLINE = {"n": "\n"}


class Sample(NamedTuple):
    """One line."""

    name: str
    labels: dict[str, str]
    value: float
    time_ns: int | None


class Page:
    """The samples of one page; `bad_lines` and `complete` are right when all were taken.

    Args:
        text: what the exporter sent.
        is_openmetrics: whether it says so in its content type: times are in seconds then, not milliseconds, and it ends in # EOF.
    """

    def __init__(self, text: str, *, is_openmetrics: bool) -> None:
        self._text = text
        # a float holds no nanoseconds of today
        self._us_per_unit = 1_000_000 if is_openmetrics else 1000
        self._is_openmetrics = is_openmetrics
        self.bad_lines = 0
        self.complete = not is_openmetrics
        self._types: dict[str, str] = {}

    def __iter__(self) -> Iterator[Sample]:
        for number, line in enumerate(self._text.split("\n")):
            if number >= MOST_SAMPLES:
                self.bad_lines += 1
                return
            if line.startswith("#"):
                if line.rstrip() == "# EOF":
                    self.complete = True
                    if self._is_openmetrics:
                        return
                self._remember_type(line)
            elif line.strip():
                try:
                    sample = self.sample(line)
                except ValueError:
                    self.bad_lines += 1
                    continue
                if not self._is_created(sample.name):
                    yield sample

    def sample(self, line: str) -> Sample:
        """One line that is no comment.

        Raises: ValueError when it is no sample.
        """
        found = _LINE.match(line.rstrip("\r"))
        if found is None:
            raise ValueError("no sample")
        name, inside, value, time = found.group(1, 2, 3, 4)
        if inside is None and name is not None and line[found.end(1) : found.end(1) + 1] not in (" ", "\t"):
            raise ValueError("a name that runs into its value")
        labels = parse_labels(inside) if inside else {}
        quoted = labels.pop("", None)
        if (name is None) == (quoted is None):
            raise ValueError("a sample needs one name")
        time_ns = None if time is None else round(float(time) * self._us_per_unit) * 1000
        return Sample(name or quoted or "", labels, parse_value(value), time_ns)

    def _remember_type(self, line: str) -> None:
        words = line.split(None, 3)
        if len(words) == 4 and words[1] == "TYPE":
            self._types[words[2].strip('"')] = words[3].strip()

    def _is_created(self, name: str) -> bool:
        """Whether this only says since when a counter counts."""
        return name.endswith("_created") and self._types.get(name[:-8], self._types.get(f"{name[:-8]}_total", "")) in (
            "counter", "histogram", "summary")


def parse_labels(inside: str) -> dict[str, str]:
    r"""What stands between the braces; a name written there, in quotes, is under "".

    Raises: ValueError for anything else, and for a label given twice.

    >>> parse_labels('a="x,y",b="\\"z\\n"'), parse_labels('"disk.used",host="a"')
    ({'a': 'x,y', 'b': '"z\n'}, {'': 'disk.used', 'host': 'a'})
    """
    labels: dict[str, str] = {}
    at = 0
    inside = inside.strip(" \t")
    while at < len(inside):
        pair = _PAIR.match(inside, at)
        if pair is None or len(labels) > _MOST_LABELS:
            raise ValueError("no labels")
        name, value = pair.group(1, 2)
        name = "" if name is None else _unquote(name) if name.startswith('"') else name
        if name in labels or (name == "" and (labels or pair.group(1) is not None)):
            raise ValueError("a label twice, or without a name")
        labels[name] = _unquote(value)
        at = pair.end()
    return labels


def _unquote(text: str) -> str:
    text = text[1:-1]
    return _ESCAPE.sub(lambda found: _NEWLINE.get(found.group(1), found.group(1)), text) if "\\" in text else text


def parse_value(text: str) -> float:
    """A value as Go writes it.

    Raises: ValueError for what is no number, 1_000 included, which Python would take.

    >>> parse_value("1e3"), parse_value("+Inf"), parse_value("NaN")
    (1000.0, inf, nan)
    """
    if "_" in text:
        raise ValueError(text)
    return math.nan if text.lower() in ("nan", "-nan") else float(text)
