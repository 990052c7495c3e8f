"""Causes as TOML: read, checked, without any code in them."""

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from models.facts import FACTS
from models.view import PARTS, STANDSTILLS
from pinchpoint.errors import CauseFileError
from pinchpoint.fields import CATEGORIES

#: What a cause may explain: parts of a step, what the slowest rank costs, everything that takes time; errors, and a run that hangs.
EXPLAINABLE = (*PARTS, "skew", "all", *STANDSTILLS)
#: `computation` is short for the phases of the model's own work.
_SHORT = {"computation": ("forward", "backward", "optimizer", "compute")}

_KEYS = {"id", "name", "category", "explains", "summary", "why", "fix", "source", "umbrella", "entity", "required", "supporting",
         "excluding", "onset"}
_CLAUSE_KEYS = {"fact", "above", "below", "because", "any"}
#: In a why-sentence: the thing at fault, as people know it.
WHO = "who"
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclasses.dataclass(frozen=True, slots=True)
class Clause:
    """One piece of evidence: a fact held against two limits, or any one of several."""

    fact: str | None
    some: float
    strong: float
    because: str | None
    """What is said when an excluding clause holds."""
    any_of: tuple["Clause", ...] = ()

    @property
    def facts(self) -> tuple[str, ...]:
        return (self.fact,) if self.fact else tuple(name for one in self.any_of for name in one.facts)


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """One entry of the catalogue."""

    id: str
    name: str
    category: str
    explains: frozenset[str]
    summary: str
    why: str
    """A sentence with `{fact}` in it, filled in with what was measured, and `{who}` for the thing at fault."""
    fix: tuple[str, ...]
    source: str
    """Where the limits come from."""
    required: tuple[Clause, ...]
    supporting: tuple[Clause, ...]
    excluding: tuple[Clause, ...]
    umbrella: bool
    """A symptom with a name: never the end of a chain while a cause below it is supported."""
    onset: bool
    """Only for what began at a known onset."""
    entity: str
    """Thing at fault: run, process, host, disk, rank, cgroup, gpu …; `models/suspects.py` finds which one."""


def load(extra: Iterable[Path] = ()) -> dict[str, Cause]:
    """The catalogue that comes with pinchpoint, and the files or folders of the user over it, by name.

    Raises: CauseFileError naming file and key when a file breaks the rules.
    """
    causes: dict[str, Cause] = {}
    own = resources.files("models.causes") / "catalogue"
    texts = [(entry.name, entry.read_text("utf-8")) for entry in sorted(own.iterdir(), key=lambda entry: entry.name)
             if entry.name.endswith(".toml")]
    for path in extra:
        if not path.exists():
            raise CauseFileError(f"{path}: no such file; causes.paths in pinchpoint.toml names it")
        for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
            texts.append((str(file), file.read_text("utf-8")))
    for where, text in texts:
        for cause in parse(text, where):
            causes[cause.name] = cause
    ids = [cause.id for cause in causes.values()]
    for cause in causes.values():
        if ids.count(cause.id) > 1:
            raise CauseFileError(f"{cause.name}: the id {cause.id} is taken by another cause; choose a free one")
    return causes


def parse(text: str, where: str) -> list[Cause]:
    """The causes of one file.

    Raises: CauseFileError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CauseFileError(f"{where}: not TOML: {error}") from error
    if set(document) != {"cause"} or not isinstance(document["cause"], list):
        raise CauseFileError(f"{where}: expected tables [[cause]] and nothing else")
    return [_cause(entry, f"{where}: cause {number}") for number, entry in enumerate(document["cause"], 1)]


def _cause(entry: dict[str, Any], where: str) -> Cause:
    if isinstance(entry.get("name"), str):
        where = f"{where} ({entry['name']})"
    _known(entry, _KEYS, where)
    for key in ("id", "name", "category", "summary", "why", "source"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise CauseFileError(f"{where}.{key}: expected a text, got {entry.get(key)!r}")
    if entry["category"] not in CATEGORIES:
        raise CauseFileError(f"{where}.category: {entry['category']!r}, expected one of {', '.join(CATEGORIES)}")
    explains = _texts(entry, "explains", where)
    whole = frozenset(part for name in explains for part in _SHORT.get(name, (name,)))
    for part in whole:
        if part not in EXPLAINABLE:
            raise CauseFileError(f"{where}.explains: {part!r}{_nearest(part, (*EXPLAINABLE, *_SHORT))}")
    for name in _PLACE.findall(entry["why"]):
        if name != WHO:
            _fact_name(name.partition(":")[0], f"{where}.why")
    clauses = {key: tuple(_clause(one, f"{where}.{key}[{number}]") for number, one in enumerate(entry.get(key, [])))
               for key in ("required", "supporting", "excluding")}
    if not clauses["required"]:
        raise CauseFileError(f"{where}.required: every cause needs at least one piece of evidence that is required")
    for number, clause in enumerate(clauses["excluding"]):
        if not clause.because:
            raise CauseFileError(f"{where}.excluding[{number}].because: say in a sentence what this rules out")
    return Cause(entry["id"], entry["name"], entry["category"], whole, entry["summary"], entry["why"], tuple(_texts(entry, "fix", where)),
                 entry["source"], clauses["required"], clauses["supporting"], clauses["excluding"], bool(entry.get("umbrella", False)),
                 bool(entry.get("onset", False)), str(entry.get("entity", "run")))


def _clause(entry: Any, where: str) -> Clause:
    if not isinstance(entry, dict):
        raise CauseFileError(f"{where}: expected a table, got {entry!r}")
    _known(entry, _CLAUSE_KEYS, where)
    because = entry.get("because")
    if "any" in entry:
        if set(entry) - {"any", "because"} or not isinstance(entry["any"], list) or not entry["any"]:
            raise CauseFileError(f"{where}.any: expected a list of clauses and nothing beside it")
        return Clause(None, 0.0, 0.0, because, tuple(_clause(one, f"{where}.any[{number}]") for number, one in enumerate(entry["any"])))
    _fact_name(entry.get("fact"), f"{where}.fact")
    if ("above" in entry) == ("below" in entry):
        raise CauseFileError(f"{where}: expected either above = [some, strong] or below = [some, strong]")
    key = "above" if "above" in entry else "below"
    limits = entry[key]
    if not isinstance(limits, list) or len(limits) != 2 or not all(isinstance(one, int | float) for one in limits):
        raise CauseFileError(f"{where}.{key}: expected two numbers [some, strong], got {limits!r}")
    some, strong = float(limits[0]), float(limits[1])
    if (some > strong) if key == "above" else (some < strong):
        raise CauseFileError(f"{where}.{key}: the second limit is the stronger one, got {limits!r}")
    # a step where both limits are the same
    strong = strong if strong != some else (some + 1e-9 if key == "above" else some - 1e-9)
    return Clause(entry["fact"], some, strong, because)


def _texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    value = entry.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise CauseFileError(f"{where}.{key}: expected a list of texts, got {value!r}")
    return value


def _fact_name(name: Any, where: str) -> None:
    if not isinstance(name, str) or name not in FACTS:
        raise CauseFileError(f"{where}: {name!r}{_nearest(str(name), FACTS)}")


def _known(entry: dict[str, Any], keys: set[str], where: str) -> None:
    for key in entry:
        if key not in keys:
            raise CauseFileError(f"{where}.{key}: unknown key{_nearest(key, keys)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(sorted(names))}"
