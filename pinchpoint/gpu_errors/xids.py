"""What the error numbers of NVIDIA's driver (XID) and of NVSwitch (SXID) mean: one table, read at first use."""

import dataclasses
import functools
import tomllib
from importlib import resources
from typing import Any

#: XIDs after which the work goes on as before: what was corrected, was replaced, or follows from another.
_MENDED = {45, 63, 92, 93, 162, 163, 164}


@dataclasses.dataclass(frozen=True, slots=True)
class Xid:
    """One number: what it means, whose fault it mostly is, what to do."""

    number: int
    name: str
    meaning: str
    blame: str
    """hardware, program, driver, power_or_cooling or unknown."""
    fix: str
    fatal: bool
    """Whether the GPU is of no use until it is reset."""

    @property
    def severity(self) -> str:
        """As in `findings.SEVERITIES`, as far as the number tells it."""
        return "warning" if self.number in _MENDED or self.name == "test_message" else "fatal" if self.fatal else "error"


def meaning_of(number: int) -> Xid:
    """The entry of an XID; a number that NVIDIA does not document gives one that says so.

    >>> meaning_of(79).name, meaning_of(79).blame, meaning_of(4321).blame
    ('fallen_off_the_bus', 'hardware', 'unknown')
    """
    return _table("xid").get(number) or Xid(number, "undocumented", f"XID {number} is not in the catalogue", "unknown",
                                            "look it up in NVIDIA's catalogue of XIDs, or ask the vendor", False)


def switch_meaning_of(number: int, fatal: bool) -> Xid:
    """The entry of an SXID; whether it is fatal stands in the line.

    >>> switch_meaning_of(20034, True).name
    'link_training_fault'
    """
    known = _table("sxid").get(number)
    if known is not None:
        return dataclasses.replace(known, fatal=fatal)
    return Xid(number, "switch_error", "NVSwitch met an error" + (" that ends the work on its GPUs" if fatal else ""), "hardware",
               "drain the node and restart it" if fatal else "watch it", fatal)


@functools.cache
def _table(kind: str) -> dict[int, Xid]:
    document: dict[str, Any] = tomllib.loads((resources.files("pinchpoint.gpu_errors") / "xids.toml").read_text("utf-8"))
    return {number: Xid(number, entry["name"], entry["meaning"], entry.get("blame", "hardware"), entry["fix"], entry.get("fatal", False))
            for entry in document[kind] for number in entry["numbers"]}
