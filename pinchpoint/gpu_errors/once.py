"""Make one event of the many lines that tell of the same thing."""

from collections.abc import Hashable

from pinchpoint.clock import NS
from pinchpoint.gpu_errors.findings import Finding

_MINUTE_NS = 60 * NS
#: More different things than this at once are not told apart: the oldest are forgotten, and told again.
MOST_REMEMBERED = 4096


class Once:
    """Tells of each thing the first line of a minute; the others of that minute stay lines of the log.

    An error that repeats writes thousands of lines a second. Kind, number and device make them the same thing.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], Hashable] = {}

    def is_first(self, finding: Finding, time_ns: int, identity: Hashable) -> bool:
        """Whether this line is the one that tells; asked again about the same line, it is again.

        Args:
            finding: what the line says.
            time_ns: when, UTC ns.
            identity: of the line, such as its number.
        """
        key = (finding.sameness, time_ns // _MINUTE_NS)
        if key not in self._first and len(self._first) >= MOST_REMEMBERED:
            del self._first[next(iter(self._first))]
        return self._first.setdefault(key, identity) == identity
