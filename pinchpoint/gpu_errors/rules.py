"""The patterns by which messages of the kernel, lines of jobs and descriptions of faults are known: tables, read at first use."""

import dataclasses
import functools
import re
import tomllib
from importlib import resources

_PCI = r"(?P<device>(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One kind of error, and the words it is known by."""

    pattern: re.Pattern[str]
    action: str
    kind: str
    blame: str
    severity: str = "fatal"
    reason: str = ""
    """A sentence with the pattern's groups in braces."""
    labels: tuple[str, ...] = ()
    """Groups that become labels, with `_` for `.`."""


@functools.cache
def kernel_rules() -> tuple[Rule, ...]:
    """Of messages of the kernel, in the order in which they are tried."""
    return _read("kernel_rules.toml", re.NOFLAG)


@functools.cache
def job_rules() -> tuple[Rule, ...]:
    """Of lines of training jobs, in the order in which they are tried."""
    return _read("job_rules.toml", re.NOFLAG)


@functools.cache
def fault_words() -> tuple[Rule, ...]:
    """Of descriptions of faults, in the order in which they are tried."""
    return _read("fault_words.toml", re.IGNORECASE)


def _read(name: str, flags: re.RegexFlag) -> tuple[Rule, ...]:
    document = tomllib.loads((resources.files("pinchpoint.gpu_errors") / name).read_text("utf-8"))
    return tuple(Rule(**{**entry, "pattern": re.compile(entry["pattern"].replace("<<PCI>>", _PCI), flags),
                         "labels": tuple(entry.get("labels", ()))}) for entry in document["rule"])
