"""What a chrome trace says of itself beside its events: the rank, and the time its clock starts at."""

import json
import re

_WHERE = re.compile(rb'"distributedInfo"\s*:\s*(?=\{)')
_BASE = re.compile(rb'"baseTimeNanoseconds"\s*:\s*(\d{1,19})(?!\d)')
_VERSION = re.compile(rb'"(\w{1,40}_version)"\s{0,8}:\s{0,8}("[^"\\]{0,80}"|[\d.]{1,20})')
_DEVICE = re.compile(rb'"deviceProperties"\s{0,8}:\s{0,8}\[\s{0,40}\{[^{}]{0,400}?"name"\s{0,8}:\s{0,8}"([^"\\]{1,100})"')
_LOOKED_AT, _MOST_SETTINGS = 1 << 16, 50
_MOST_BASE_NS = 1 << 62
_MOST_RANKS = 1 << 31


class About:
    """What was found so far; what was not is None."""

    def __init__(self) -> None:
        self.rank: int | None = None
        self.world_size: int | None = None
        #: UTC nanoseconds that times in the trace count from; 0 where they count from 1970.
        self.base_ns = 0
        #: Versions, and the device.
        self.settings: dict[str, str] = {}

    def look(self, text: bytes) -> None:
        """Take what stands in the text around the events.

        >>> about = About()
        >>> about.look(b'{"distributedInfo": {"backend": "nccl", "rank": 3, "world_size": 8}, "baseTimeNanoseconds": 17')
        >>> about.rank, about.world_size, about.base_ns
        (3, 8, 17)
        """
        base = _BASE.search(text)
        if base and int(base[1]) < _MOST_BASE_NS:
            self.base_ns = int(base[1])
        for name, value in _VERSION.findall(text, 0, _LOOKED_AT):
            if len(self.settings) < _MOST_SETTINGS:
                self.settings[name.decode()] = value.strip(b'"').decode("utf-8", "replace")
        device = _DEVICE.search(text, 0, _LOOKED_AT)
        if device:
            self.settings["device"] = device[1].decode("utf-8", "replace")
        where = _WHERE.search(text)
        if not where:
            return
        try:
            said, _ = json.JSONDecoder().raw_decode(text[where.end() :].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return
        self.rank = _rank(said.get("rank"))
        self.world_size = _rank(said.get("world_size"))


def _rank(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST_RANKS else None
